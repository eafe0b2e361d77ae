//! Who may join: tokens and approvals, given out, used up and taken back.
//!
//! A node joins with a token or an operator's approval of its key. The same key again is the same
//! member: its admission is renewed and uses nothing up.
//! Not here: secrets and certificates (`transport`); only a token's hash is in the registry.

use protocol::limits::{TOKEN_TTL_MAX_MS, TOKEN_USES_MAX};
use protocol::registry::{
    Admission, Approval, KeyDigest, Member, MemberCommand, MemberState, Outcome, Refusal, Token,
};
use protocol::{Incarnation, NodeId, Stamp};

use super::audit::Event;
use super::{Refused, Registry};

/// Milliseconds that an expired token is remembered, so that its user is told what is wrong.
const EXPIRED_KEPT_MS: u64 = 7 * 24 * 3_600_000;

impl Registry {
    pub(super) fn admit(&mut self, command: &MemberCommand) -> Outcome {
        let MemberCommand::Admit { name, stamp, .. } = command else {
            return Outcome::Stale;
        };
        match self.try_admit(command) {
            Ok(outcome) => outcome,
            Err(Refused(refusal)) => {
                let event = Event {
                    what: "join refused",
                    subject: name,
                    by: "",
                    detail: &refusal.to_string(),
                };
                self.audit(*stamp, &event);
                Outcome::Refused(refusal)
            }
        }
    }

    fn try_admit(&mut self, command: &MemberCommand) -> Result<Outcome, Refused> {
        let MemberCommand::Admit {
            node,
            key,
            name,
            address,
            token,
            may_vote,
            stamp,
        } = command
        else {
            return Ok(Outcome::Stale);
        };
        if self.state.roll.removed.contains_key(node) {
            return Err(Refusal::RemovedMember { node: *node }.into());
        }
        if let Some(owner) = self.owner_of(key).filter(|owner| owner != node) {
            return Err(Refusal::KeyTaken { node: owner }.into());
        }
        let keyless = match self.state.members.get_mut(node) {
            Some(member) if member.admission.key == *key => {
                member.name.clone_from(name);
                member.address.clone_from(address);
                member.admission.may_vote = *may_vote;
                return Ok(Outcome::Done);
            }
            // The founder of a convention that had no other member.
            Some(member) if member.admission.key == KeyDigest::default() => true,
            Some(_) => return Err(Refusal::IdTaken { node: *node }.into()),
            None => self.state.members.is_empty(),
        };
        let by = match token {
            Some(id) => self.use_token(id, *stamp)?,
            None if keyless => "founder".to_owned(),
            None => self.use_approval(key)?,
        };
        let admission = Admission {
            key: *key,
            joined: *stamp,
            by: by.clone(),
            may_vote: *may_vote,
            drained: false,
            demoted: false,
        };
        let member = self.state.members.entry(*node).or_insert_with(|| Member {
            name: String::new(),
            address: String::new(),
            incarnation: Incarnation::default(),
            capabilities: "{}".to_owned(),
            state: MemberState::Down,
            since: *stamp,
            admission: Admission::default(),
        });
        member.name.clone_from(name);
        member.address.clone_from(address);
        member.admission = admission;
        self.audit_member(*node, *stamp, "member joined", &by, &node.to_string());
        Ok(Outcome::Done)
    }

    /// The member with this key; zeros are nobody's.
    fn owner_of(&self, key: &KeyDigest) -> Option<NodeId> {
        let mut members = self.state.members.iter();
        let owner = members.find(|(_, member)| member.admission.key == *key)?.0;
        (*key != KeyDigest::default()).then_some(*owner)
    }

    /// Checks everything before it takes one use.
    fn use_token(&mut self, id: &str, stamp: Stamp) -> Result<String, Refused> {
        let id = id.to_owned();
        let Some(token) = self.state.roll.tokens.get_mut(&id) else {
            return Err(Refusal::UnknownToken { id }.into());
        };
        if stamp >= token.expires {
            return Err(Refusal::TokenExpired { id }.into());
        }
        let Some(left) = token.uses_left.checked_sub(1) else {
            return Err(Refusal::TokenUsed { id }.into());
        };
        token.uses_left = left;
        Ok(format!("token {id}"))
    }

    fn use_approval(&mut self, key: &KeyDigest) -> Result<String, Refused> {
        let approval = self.state.roll.approvals.remove(key);
        let approval = approval.ok_or(Refused(Refusal::NotApproved { key: *key }))?;
        Ok(format!("approved by {}", approval.by))
    }

    pub(super) fn invite(&mut self, command: &MemberCommand) -> Outcome {
        match command {
            MemberCommand::Issue { .. } => self.issue(command),
            MemberCommand::Revoke { id, by, stamp } => {
                let id = id.clone();
                if self.state.roll.tokens.remove(&id).is_none() {
                    return Outcome::Refused(Refusal::UnknownToken { id });
                }
                self.audit_token(*stamp, "token revoked", &id, by, "");
                Outcome::Done
            }
            MemberCommand::Approve {
                key,
                name,
                by,
                stamp,
            } => self.approve(*key, name, by, *stamp),
            _ => Outcome::Stale,
        }
    }

    fn issue(&mut self, command: &MemberCommand) -> Outcome {
        let MemberCommand::Issue {
            id,
            secret,
            uses,
            expires,
            authority,
            by,
            stamp,
        } = command
        else {
            return Outcome::Stale;
        };
        let tokens = &mut self.state.roll.tokens;
        if tokens.contains_key(id) {
            return Outcome::Stale;
        }
        // Whoever proposes it: the node that was asked may have another release, or no manners.
        let ttl_ms = expires.0.saturating_sub(stamp.0);
        if !(1..=TOKEN_USES_MAX).contains(uses) || !(1..=TOKEN_TTL_MAX_MS).contains(&ttl_ms) {
            return Outcome::Refused(Refusal::TokenTooGood {
                uses: *uses,
                ttl_ms,
                uses_max: TOKEN_USES_MAX,
                ttl_max_ms: TOKEN_TTL_MAX_MS,
            });
        }
        tokens.retain(|_, token| token.expires.0.saturating_add(EXPIRED_KEPT_MS) > stamp.0);
        let token = Token {
            secret: *secret,
            uses_left: *uses,
            expires: *expires,
            issued: *stamp,
            by: by.clone(),
            authority: *authority,
        };
        tokens.insert(id.clone(), token);
        self.audit_token(*stamp, "token issued", id, by, &format!("uses: {uses}"));
        Outcome::Done
    }

    fn approve(&mut self, key: KeyDigest, name: &str, by: &str, stamp: Stamp) -> Outcome {
        if let Some(node) = self.owner_of(&key) {
            return Outcome::Refused(Refusal::KeyTaken { node });
        }
        let approval = Approval {
            name: name.to_owned(),
            stamp,
            by: by.to_owned(),
        };
        self.state.roll.approvals.insert(key, approval);
        let detail = format!("key {key}");
        let event = Event {
            what: "joiner approved",
            subject: name,
            by,
            detail: &detail,
        };
        self.audit(stamp, &event);
        Outcome::Done
    }

    fn audit_token(&mut self, stamp: Stamp, what: &str, subject: &str, by: &str, detail: &str) {
        let event = Event {
            what,
            subject,
            by,
            detail,
        };
        self.audit(stamp, &event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_good_for_more_than_a_token_may_be_whoever_proposes_it() {
        let mut registry = Registry::new();
        let mut issue = |id: &str, uses, ttl_ms| {
            registry.invite(&MemberCommand::Issue {
                id: id.to_owned(),
                secret: KeyDigest::default(),
                authority: KeyDigest::default(),
                uses,
                expires: Stamp(5 + ttl_ms),
                by: "ann".to_owned(),
                stamp: Stamp(5),
            })
        };
        for (uses, ttl_ms) in [
            (0, 1_000),
            (TOKEN_USES_MAX + 1, 1_000),
            (1, 0),
            (1, TOKEN_TTL_MAX_MS + 1),
        ] {
            let outcome = issue("a", uses, ttl_ms);
            let told = matches!(outcome, Outcome::Refused(Refusal::TokenTooGood { .. }));
            assert!(told, "{uses} uses, {ttl_ms} ms: {outcome:?}");
        }
        let most = issue("a", TOKEN_USES_MAX, TOKEN_TTL_MAX_MS);
        assert_eq!(most, Outcome::Done);
        assert_eq!(registry.state.roll.tokens.len(), 1);
    }
}
