//! The machine with simulated processes around it, which keep to the protocol.

use std::collections::HashMap;

use protocol::control::{AskOutcome, Notice};
use protocol::{
    ActorId, CreditPayload, Flags, Frame, FrameKind, FrameReader, Header, Incarnation, NodeId,
    PayloadKind, ProgramId, RoleId, SourceHash, TargetKind, WindowPayload,
};

use crate::router::agent::{AgentEvent, Caller, CallerKind};
use crate::router::config::{ActorRecord, Limits, Peer, Rights};
use crate::router::core::ids::Target;
use crate::router::core::{Core, Effect, Event, FrameBytes, PartyId};
use crate::router::moment::Moment;

pub(super) const INCARNATION: Incarnation = Incarnation(9);

/// A process as the machine's peer.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: Option<PartyId>,
    pub(super) address: ActorId,
    token: String,
    /// Bytes that were written to it and are no whole frame.
    reader: FrameReader,
    /// Messages that it has read, oldest first.
    pub(super) inbox: Vec<Frame>,
    pub(super) notices: Vec<Notice>,
    /// Markers that it will echo when it handles its inbox.
    markers: Vec<u64>,
    unreported: u64,
    counts: HashMap<Target, (u32, u64)>,
    sequences: HashMap<Target, u64>,
}

pub(super) struct World {
    pub(super) core: Core,
    incarnation: Incarnation,
    pub(super) limits: Limits,
    pub(super) now: Moment,
    pub(super) processes: Vec<Process>,
    pub(super) closed: Vec<String>,
    pub(super) tickets: Vec<(u64, bool)>,
    pub(super) told: Vec<AgentEvent>,
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        Self::of(INCARNATION, NodeId(9), limits)
    }

    pub(super) fn of(incarnation: Incarnation, node: NodeId, limits: Limits) -> Self {
        Self {
            core: Core::new((incarnation, node), limits.clone(), 1, 0),
            incarnation,
            limits,
            now: Moment(0),
            processes: Vec::new(),
            closed: Vec::new(),
            tickets: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn event(&mut self, event: Event<'_>) {
        self.core.handle_event(self.now, event);
        self.drain();
    }

    /// Takes in what the machine wants.
    pub(super) fn drain(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Close { reason, .. } => self.closed.push(reason),
                Effect::Ticket { ticket, stands } => self.tickets.push((ticket, stands)),
                Effect::Tell(event) => self.told.push(event),
                _ => {}
            }
        }
    }

    /// Lets so much time pass, with the time-outs that fall due.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.event(Event::Timeout);
    }

    pub(super) fn expect(&mut self, parent: ActorId) -> usize {
        let address = self.next_address();
        self.expect_as(address, parent)
    }

    /// The address of the next actor.
    pub(super) fn next_address(&self) -> ActorId {
        ActorId::allot(self.incarnation, 100 + self.processes.len() as u64)
    }

    /// The next address belongs to an actor elsewhere.
    pub(super) fn skip_address(&mut self) {
        let address = self.next_address();
        self.add(None, address, String::new());
    }

    pub(super) fn expect_as(&mut self, address: ActorId, parent: ActorId) -> usize {
        let record = record(address, parent);
        let token = record.token.clone();
        self.event(Event::Expect(Box::new(record)));
        self.add(None, address, token)
    }

    fn add(&mut self, id: Option<PartyId>, address: ActorId, token: String) -> usize {
        self.processes.push(Process {
            id,
            address,
            token,
            reader: FrameReader::default(),
            inbox: Vec::new(),
            notices: Vec::new(),
            markers: Vec::new(),
            unreported: 0,
            counts: HashMap::new(),
            sequences: HashMap::new(),
        });
        self.processes.len() - 1
    }

    pub(super) fn connect(&mut self, n: usize) {
        let peer = Peer {
            uid: 0,
            gid: 0,
            pid: None,
        };
        let token = self.processes[n].token.clone();
        if let Some((id, _)) = self.core.connect_worker(&token, peer, 1) {
            self.processes[n].id = Some(id);
        }
    }

    pub(super) fn start(&mut self, n: usize) {
        self.connect(n);
        self.notice(n, &Notice::Started);
    }

    /// An actor that runs.
    pub(super) fn actor(&mut self) -> usize {
        let n = self.expect(ActorId::NONE);
        self.start(n);
        n
    }

    pub(super) fn client(&mut self) -> usize {
        let address = ActorId::allot(self.incarnation, 10_000 + self.processes.len() as u64);
        let caller = Caller {
            address,
            kind: CallerKind::Client,
            pid: 1,
            uid: 0,
            gid: 0,
            rights: Rights::Use,
        };
        let id = self.core.connect_client(caller, PROGRAM);
        self.add(Some(id), address, String::new())
    }

    pub(super) fn address(&self, n: usize) -> ActorId {
        self.processes[n].address
    }

    pub(super) fn notice(&mut self, n: usize, notice: &Notice) {
        let json = serde_json::to_vec(notice).unwrap();
        self.frame(n, &Frame::new(Header::control(FrameKind::Notice, 0), json));
    }

    pub(super) fn frame(&mut self, n: usize, frame: &Frame) {
        let Some(from) = self.processes[n].id else {
            return;
        };
        let mut bytes = Vec::new();
        frame.write_to(&mut bytes);
        self.event(Event::Frame {
            from,
            header: &frame.header,
            bytes: FrameBytes::Slice(&bytes),
        });
    }

    /// Whether the process has credit for the target.
    pub(super) fn may_send(&self, n: usize, target: Target) -> bool {
        let (messages, bytes) = self.outstanding(n, target);
        messages < self.limits.credit_messages && bytes < self.limits.credit_bytes
    }

    /// What the process sent to the target and did not get back.
    pub(super) fn outstanding(&self, n: usize, target: Target) -> (u32, u64) {
        let counts = &self.processes[n].counts;
        counts.get(&target).copied().unwrap_or_default()
    }

    /// Sends whether there is credit or not.
    pub(super) fn send(&mut self, n: usize, target: Target, flags: Flags, n_bytes: usize) -> u64 {
        let process = &mut self.processes[n];
        let sequence = process.sequences.entry(target).or_default();
        *sequence += 1;
        let header = Header {
            flags,
            payload_kind: PayloadKind::Pickle,
            target_kind: target.kind(),
            deadline_ms: if flags.contains(Flags::ASK) {
                10_000
            } else {
                0
            },
            sender: process.address,
            target: target.bytes(),
            source: SourceHash::default(),
            ..Header::control(FrameKind::Message, *sequence)
        };
        let sequence = *sequence;
        let frame = Frame::new(header, vec![0; n_bytes]);
        if !flags.contains(Flags::SYSTEM) {
            let count = process.counts.entry(target).or_default();
            count.0 += 1;
            count.1 += frame.bytes() as u64;
        }
        self.frame(n, &frame);
        sequence
    }

    pub(super) fn tell(&mut self, n: usize, to: usize) {
        let target = Target::Actor(self.address(to));
        self.send(n, target, Flags::default(), 10);
    }

    /// The socket takes so many bytes, and the process reads them.
    pub(super) fn write(&mut self, n: usize, n_bytes: usize) {
        let Some(id) = self.processes[n].id else {
            return;
        };
        let Some(outbox) = self.core.outbox(id) else {
            return;
        };
        let mut left = n_bytes;
        let mut bytes = Vec::new();
        while left > 0 && !outbox.is_empty() {
            let taken = outbox.with_slices(|slices| {
                let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
                let part = &all[..left.min(all.len())];
                bytes.extend_from_slice(part);
                part.len()
            });
            outbox.advance(taken);
            left -= taken;
        }
        let process = &mut self.processes[n];
        process.reader.extend(&bytes);
        while let Some(frame) = process.reader.next_frame().unwrap() {
            process.read(frame);
        }
    }

    pub(super) fn write_all(&mut self, n: usize) {
        self.write(n, usize::MAX);
    }

    /// The process handles what it has read: reports it, echoes markers.
    pub(super) fn handle(&mut self, n: usize) {
        let n_bytes = std::mem::take(&mut self.processes[n].unreported);
        for number in std::mem::take(&mut self.processes[n].markers) {
            let mut header = Header::control(FrameKind::Marker, number);
            header.payload_kind = PayloadKind::Empty;
            self.frame(n, &Frame::new(header, Vec::new()));
        }
        if n_bytes > 0 {
            let payload = WindowPayload { bytes: n_bytes }.to_bytes();
            self.frame(
                n,
                &Frame::new(Header::control(FrameKind::Window, 0), payload),
            );
        }
    }

    /// Everyone reads and handles until nothing moves any more.
    pub(super) fn settle(&mut self) {
        loop {
            let before = self.core.stats().delivered;
            for n in 0..self.processes.len() {
                self.write_all(n);
                self.handle(n);
            }
            let idle = (0..self.processes.len()).all(|n| self.is_quiet(n));
            if idle && self.core.stats().delivered == before {
                return;
            }
        }
    }

    fn is_quiet(&mut self, n: usize) -> bool {
        let process = &self.processes[n];
        let read = process.unreported == 0 && process.markers.is_empty();
        let written = process
            .id
            .and_then(|id| self.core.outbox(id))
            .is_none_or(|outbox| outbox.is_empty());
        read && written
    }

    pub(super) fn end(&mut self, n: usize) {
        let actor = self.address(n);
        let reason = "ended by the test".to_owned();
        self.event(Event::Ended { actor, reason });
    }

    pub(super) fn bind(&mut self, role: RoleId, to: Option<usize>) {
        let actor = to.map(|n| self.address(n));
        let reason = "unbound by the test".to_owned();
        self.event(Event::Bind {
            role,
            actor,
            reason,
        });
    }

    pub(super) fn hold(&mut self, role: RoleId) {
        self.event(Event::Hold {
            roles: vec![role],
            limit_ms: None,
        });
    }

    pub(super) fn release(&mut self, role: RoleId) {
        self.event(Event::Release { roles: vec![role] });
    }

    /// How the asks of a process ended that nobody answered.
    pub(super) fn ask_outcomes(&mut self, n: usize) -> Vec<(u64, AskOutcome)> {
        self.write_all(n);
        let notices = std::mem::take(&mut self.processes[n].notices);
        let ended = notices.into_iter().filter_map(|notice| match notice {
            Notice::AskEnded {
                sequence, outcome, ..
            } => Some((sequence, outcome)),
            _ => None,
        });
        ended.collect()
    }

    pub(super) fn unblocked(&mut self, n: usize) -> usize {
        self.write_all(n);
        let notices = &self.processes[n].notices;
        let told = |notice: &&Notice| matches!(notice, Notice::Unblock { .. });
        notices.iter().filter(told).count()
    }
}

/// The program that all actors of the tests are of.
pub(super) const PROGRAM: ProgramId = ProgramId([7; 32]);

/// What the agent tells of an actor.
pub(super) fn record(actor: ActorId, parent: ActorId) -> ActorRecord {
    ActorRecord {
        actor,
        token: format!("token of {actor}"),
        parent,
        source: None,
        program: PROGRAM,
        class: "app.Main".to_owned(),
        global_name: None,
    }
}

impl Process {
    fn read(&mut self, frame: Frame) {
        match frame.header.kind {
            FrameKind::Message => {
                self.unreported += frame.bytes() as u64;
                self.inbox.push(frame);
            }
            FrameKind::Credit => {
                let credit = CreditPayload::from_bytes(&frame.payload).unwrap();
                let target = if credit.target_kind == TargetKind::Role as u8 {
                    Target::Role(RoleId(credit.target))
                } else {
                    Target::Actor(ActorId(credit.target))
                };
                let count = self.counts.get_mut(&target).unwrap();
                count.0 = count.0.checked_sub(credit.messages).unwrap();
                count.1 = count.1.checked_sub(credit.bytes).unwrap();
            }
            FrameKind::Marker => self.markers.push(frame.header.sequence),
            FrameKind::Notice => {
                self.notices
                    .push(serde_json::from_slice(&frame.payload).unwrap());
            }
            kind => panic!("the node sent a `{kind:?}`"),
        }
    }
}

impl Process {
    /// Whether a frame was written to it in part.
    pub(super) fn is_cut(&self) -> bool {
        !self.reader.is_empty()
    }

    /// What it sent and did not get back, per target.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u32, u64)> {
        self.counts.values().copied()
    }
}
