//! Frames of a party by kind, and the control frames that go to it.

use protocol::control::{ConnectionRole, ErrorCode, Notice, Request, RequestError, Response};
use protocol::{Frame, FrameKind, Header, WindowPayload};
use serde::Serialize;

use super::outbox::FrameBytes;
use super::party::Stage;
use super::{Core, Effect, PartyId};
use crate::router::agent::{AgentEvent, CallerKind};

impl Core {
    /// A frame came from a party.
    pub(super) fn frame(&mut self, from: PartyId, header: &Header, bytes: FrameBytes<'_>) {
        let Some(party) = self.parties.get(from) else {
            return;
        };
        if !party.connected() {
            return;
        }
        match header.kind {
            FrameKind::Message => self.message(from, header, bytes),
            FrameKind::Window => match WindowPayload::from_bytes(bytes.payload()) {
                Ok(window) => self.window(from, window.bytes),
                Err(error) => self.violated(from, error.to_string()),
            },
            FrameKind::Marker => self.marker_echoed(from, header.sequence),
            FrameKind::Request => self.request(from, header.sequence, bytes.payload()),
            FrameKind::Notice => match serde_json::from_slice(bytes.payload()) {
                Ok(notice) => self.notice(from, notice),
                Err(error) => {
                    self.violated(from, format!("sent a notice that does not parse: {error}"))
                }
            },
            kind => self.violated(from, format!("sent a frame `{kind:?}`, which it may not")),
        }
    }

    fn window(&mut self, from: PartyId, n_bytes: u64) {
        if let Some(party) = self.parties.get_mut(from) {
            party.window_used = party.window_used.saturating_sub(n_bytes);
            // One that reports what it never read would make the outbox grow without end.
            if let Err(reason) = self.check_unread(from) {
                return self.violated(from, reason);
            }
            self.pump(from);
        }
    }

    fn notice(&mut self, from: PartyId, notice: Notice) {
        let Some(party) = self.parties.get_mut(from) else {
            return;
        };
        let actor = party.address;
        let worker = party.role == ConnectionRole::Worker;
        match notice {
            Notice::Started if worker && party.stage == Stage::Starting => {
                party.stage = Stage::Running;
                self.tell(AgentEvent::Started { actor });
                self.pump(from);
            }
            Notice::StartFailed(failure) if worker => {
                self.tell(AgentEvent::StartFailed { actor, failure });
            }
            Notice::Exiting if worker => self.tell(AgentEvent::Exiting { actor }),
            Notice::Blocked { target, inbox_full } => self.blocked(from, target, inbox_full),
            Notice::HandleDeadLetters { on } if worker => self.handle_dead_letters(from, on),
            other => self.violated(from, format!("sent a notice that it may not: {other:?}")),
        }
    }

    fn request(&mut self, from: PartyId, sequence: u64, payload: &[u8]) {
        let request: Request = match serde_json::from_slice(payload) {
            Ok(request) => request,
            Err(error) => return self.refuse_request(from, sequence, &error),
        };
        let requests_max = self.limits.requests_max;
        let Some(party) = self.parties.get_mut(from) else {
            return;
        };
        let Some(caller) = party.caller.clone() else {
            return;
        };
        if sequence != 0 {
            if party.requests >= requests_max {
                let message = format!("{requests_max} requests of this connection are unanswered");
                let response = failed(ErrorCode::Unavailable, message, "wait for answers first");
                return self.send_json(from, FrameKind::Response, sequence, &response);
            }
            party.requests += 1;
        } else if let (
            ConnectionRole::Worker,
            Request::CreateActor {
                actor: Some(child), ..
            },
        ) = (party.role, &request)
            && !self.announce(*child, caller.address)
        {
            let reason = format!("created an actor under `{child}`, which is not its to give");
            return self.violated(from, reason);
        }
        if let Request::CreateActor {
            client: Some(client),
            ..
        } = &request
            && caller.kind == CallerKind::Client
        {
            self.is_program(from, client.program());
        }
        self.effects.push_back(Effect::Request {
            from,
            caller,
            sequence,
            request: Box::new(request),
        });
    }

    fn refuse_request(&mut self, from: PartyId, sequence: u64, error: &serde_json::Error) {
        let message = format!("the request is not understood: {error}");
        if sequence == 0 {
            return self.violated(from, message);
        }
        let hint = "see docs/protocol.md; is the program of another version than the node?";
        let response = failed(ErrorCode::Usage, message, hint);
        self.send_json(from, FrameKind::Response, sequence, &response);
    }

    /// The agent's answer to a request.
    pub(super) fn respond(&mut self, to: PartyId, sequence: u64, response: Option<Box<Response>>) {
        if let Some(party) = self.parties.get_mut(to) {
            party.requests = party.requests.saturating_sub(1);
            let response = response.unwrap_or_else(|| {
                let message = "the node dropped the request without an answer".to_owned();
                Box::new(failed(ErrorCode::Internal, message, "see the node's log"))
            });
            self.send_json(to, FrameKind::Response, sequence, &response);
        }
    }

    pub(super) fn send_notice(&mut self, to: PartyId, notice: &Notice) {
        self.send_json(to, FrameKind::Notice, 0, notice);
    }

    /// Sends a control frame with a JSON document.
    pub(crate) fn send_json<T: Serialize>(
        &mut self,
        to: PartyId,
        kind: FrameKind,
        sequence: u64,
        document: &T,
    ) {
        match serde_json::to_vec(document) {
            Ok(json) => self.send_frame(to, &Frame::new(Header::control(kind, sequence), json)),
            Err(error) => {
                let warning = format!("a `{kind:?}` does not encode: {error}");
                self.effects.push_back(Effect::Warn(warning));
            }
        }
    }

    /// Sends a control frame, which needs no window; a party that reads none of them is dropped.
    pub(super) fn send_frame(&mut self, to: PartyId, frame: &Frame) {
        if let Err(reason) = self.check_unread(to) {
            return self.violated(to, reason);
        }
        let Some(party) = self.parties.get_mut(to).filter(|party| party.connected()) else {
            return;
        };
        let mut bytes = Vec::with_capacity(frame.bytes());
        frame.write_to(&mut bytes);
        party.outbox.push(FrameBytes::Owned(bytes));
        self.flush(to);
    }

    fn check_unread(&self, id: PartyId) -> Result<(), String> {
        let unread = self.parties.get(id).map_or(0, |party| {
            (party.outbox.bytes() as u64).saturating_sub(party.window_used)
        });
        if unread > self.limits.unread_bytes_max {
            return Err(format!("left {unread} bytes unread"));
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, event: AgentEvent) {
        self.effects.push_back(Effect::Tell(event));
    }
}

fn failed(code: ErrorCode, message: String, hint: &str) -> Response {
    Response::Failed(RequestError {
        code,
        message,
        hint: Some(hint.to_owned()),
        traceback: None,
        failure: None,
    })
}
