//! How one key of the convention's authority replaces another.
//!
//! It is wanted; a leader draws the key and the voters pass it on; it issues while certificates of
//! the one before still count; then that one retires. Who leads may change between any two steps.
//! Not here: who holds a key and who has renewed (a leader hears it), what a certificate says.

use protocol::Stamp;
use protocol::registry::{
    AUTHORITIES_KEPT, AuthorityCommand, KeyDigest, Outcome, Refusal, Root, Rotation, RotationStep,
};

use super::Registry;
use super::audit::Event;

impl Registry {
    pub(super) fn authority(&mut self, command: &AuthorityCommand) -> Outcome {
        match command {
            AuthorityCommand::Rotate { by, stamp } => self.rotate(by, *stamp),
            AuthorityCommand::Drawn {
                current,
                root,
                link,
                stamp,
            } => self.drawn(current, root, link, *stamp),
            AuthorityCommand::TakeOver { key, stamp } => self.take_over(*key, *stamp),
            AuthorityCommand::Retire { key, by, stamp } => self.retire(*key, by, *stamp),
        }
    }

    fn rotate(&mut self, by: &str, stamp: Stamp) -> Outcome {
        let authorities = &mut self.state.roll.authorities;
        if let Some(rotation) = &authorities.rotation {
            return Outcome::Refused(Refusal::Rotating {
                by: rotation.by.clone(),
            });
        }
        authorities.rotation = Some(Rotation {
            step: RotationStep::Wanted,
            by: by.to_owned(),
            since: stamp,
        });
        self.audit_authority(stamp, "authority to be replaced", by, "");
        Outcome::Done
    }

    fn drawn(&mut self, current: &Root, root: &Root, link: &[u8], stamp: Stamp) -> Outcome {
        let authorities = &mut self.state.roll.authorities;
        let issues = authorities.roots.first();
        let Some(rotation) = &mut authorities.rotation else {
            return Outcome::Stale;
        };
        let is_drawn = match &rotation.step {
            RotationStep::Issues => return Outcome::Stale,
            RotationStep::Wanted => false,
            RotationStep::Drawn { root: known, .. } => known == root,
        };
        if is_drawn || issues.is_some_and(|issues| issues.key != current.key) {
            return Outcome::Stale;
        }
        rotation.step = RotationStep::Drawn {
            root: root.clone(),
            link: link.to_owned(),
        };
        if authorities.roots.is_empty() {
            authorities.roots.push(current.clone());
            authorities.changes += 1;
        }
        self.audit_authority(stamp, "authority drawn", "", &root.key.to_string());
        Outcome::Done
    }

    fn take_over(&mut self, key: KeyDigest, stamp: Stamp) -> Outcome {
        let authorities = &mut self.state.roll.authorities;
        let Some(rotation) = &mut authorities.rotation else {
            return Outcome::Stale;
        };
        match std::mem::replace(&mut rotation.step, RotationStep::Issues) {
            RotationStep::Drawn { root, link } if root.key == key => {
                authorities.roots.insert(0, root);
                authorities.links.insert(0, link);
            }
            step => {
                rotation.step = step;
                return Outcome::Stale;
            }
        }
        authorities.links.truncate(AUTHORITIES_KEPT);
        authorities.changes += 1;
        self.audit_authority(stamp, "authority took over", "", &key.to_string());
        Outcome::Done
    }

    fn retire(&mut self, key: KeyDigest, by: &str, stamp: Stamp) -> Outcome {
        let authorities = &mut self.state.roll.authorities;
        let rotation = authorities.rotation.as_ref();
        if rotation.is_none_or(|rotation| rotation.step != RotationStep::Issues) {
            return Outcome::Refused(Refusal::NotIssuing);
        }
        if authorities.roots.first().map(|root| root.key) != Some(key) {
            return Outcome::Stale;
        }
        let before = authorities.roots.split_off(1);
        let retired: Vec<_> = before.iter().map(|root| root.key.to_string()).collect();
        authorities.retired.splice(0..0, before);
        authorities.retired.truncate(AUTHORITIES_KEPT);
        authorities.changes += 1;
        authorities.rotation = None;
        // Whoever was given one of these would not find what it pins.
        let tokens = &mut self.state.roll.tokens;
        let count = tokens.len();
        tokens.retain(|_, token| token.authority == key);
        let gone = count - tokens.len();
        let detail = format!("{}; join tokens that pin it: {gone}", retired.join(", "));
        self.audit_authority(stamp, "authority retired", by, &detail);
        Outcome::Done
    }

    fn audit_authority(&mut self, stamp: Stamp, what: &str, by: &str, detail: &str) {
        let event = Event {
            what,
            subject: "",
            by,
            detail,
        };
        self.audit(stamp, &event);
    }
}

#[cfg(test)]
mod tests {
    use protocol::registry::{Command, MemberCommand, Token};

    use super::*;

    fn root(number: u8) -> Root {
        Root {
            key: KeyDigest([number; 32]),
            certificate: vec![number],
        }
    }

    fn apply(registry: &mut Registry, command: AuthorityCommand) -> Outcome {
        registry.apply(&Command::Member(MemberCommand::Authority(command)))
    }

    fn rotate() -> AuthorityCommand {
        AuthorityCommand::Rotate {
            by: "ann".to_owned(),
            stamp: Stamp(1),
        }
    }

    fn drawn(current: u8, next: u8) -> AuthorityCommand {
        AuthorityCommand::Drawn {
            current: root(current),
            root: root(next),
            link: vec![current, next],
            stamp: Stamp(2),
        }
    }

    fn take_over(next: u8) -> AuthorityCommand {
        AuthorityCommand::TakeOver {
            key: KeyDigest([next; 32]),
            stamp: Stamp(3),
        }
    }

    fn retire(issues: u8) -> AuthorityCommand {
        AuthorityCommand::Retire {
            key: KeyDigest([issues; 32]),
            by: String::new(),
            stamp: Stamp(4),
        }
    }

    fn rotated(registry: &mut Registry, current: u8, next: u8) {
        let steps = [
            rotate(),
            drawn(current, next),
            take_over(next),
            retire(next),
        ];
        for step in steps {
            assert_eq!(apply(registry, step), Outcome::Done);
        }
    }

    #[test]
    fn an_authority_is_replaced_step_by_step() {
        let mut registry = Registry::new();
        assert_eq!(apply(&mut registry, drawn(1, 2)), Outcome::Stale);
        assert_eq!(apply(&mut registry, take_over(2)), Outcome::Stale);
        assert_eq!(apply(&mut registry, rotate()), Outcome::Done);
        let refused = apply(&mut registry, rotate());
        let by = "ann".to_owned();
        assert_eq!(refused, Outcome::Refused(Refusal::Rotating { by }));
        assert_eq!(apply(&mut registry, take_over(2)), Outcome::Stale);
        assert_eq!(apply(&mut registry, drawn(1, 2)), Outcome::Done);
        // The leader that drew it died with it: the next one draws another.
        assert_eq!(apply(&mut registry, drawn(1, 3)), Outcome::Done);
        assert_eq!(apply(&mut registry, take_over(2)), Outcome::Stale);
        let early = apply(&mut registry, retire(1));
        assert_eq!(early, Outcome::Refused(Refusal::NotIssuing));
        assert_eq!(apply(&mut registry, take_over(3)), Outcome::Done);
        // What a leader that was slow says of the past changes nothing.
        assert_eq!(apply(&mut registry, drawn(1, 4)), Outcome::Stale);
        assert_eq!(apply(&mut registry, take_over(3)), Outcome::Stale);
        assert_eq!(apply(&mut registry, retire(1)), Outcome::Stale);
        let both = registry.state().roll.authorities.clone();
        assert_eq!(both.roots, [root(3), root(1)]);
        assert_eq!(both.links, [vec![1, 3]]);
        assert_eq!(apply(&mut registry, retire(3)), Outcome::Done);
        let after = &registry.state().roll.authorities;
        assert_eq!(
            (after.roots.as_slice(), after.retired.as_slice()),
            (&[root(3)][..], &[root(1)][..])
        );
        assert!(after.rotation.is_none() && after.changes > both.changes);
        let audit = registry.state().roll.audit.iter();
        let audit: Vec<_> = audit.map(|entry| entry.what.as_str()).collect();
        let told = [
            "authority to be replaced",
            "authority drawn",
            "authority drawn",
            "authority took over",
            "authority retired",
        ];
        assert_eq!(audit, told);
    }

    #[test]
    fn of_many_authorities_the_last_few_are_remembered() {
        let mut registry = Registry::new();
        for current in 1..=9 {
            rotated(&mut registry, current, current + 1);
        }
        let authorities = &registry.state().roll.authorities;
        assert_eq!(authorities.roots, [root(10)]);
        assert_eq!(authorities.links.len(), AUTHORITIES_KEPT);
        assert_eq!(authorities.links[0], [9, 10]);
        assert_eq!(authorities.retired, [root(9), root(8), root(7), root(6)]);
        // A key that is drawn has to follow the one that issues.
        apply(&mut registry, rotate());
        assert_eq!(apply(&mut registry, drawn(8, 11)), Outcome::Stale);
    }

    #[test]
    fn tokens_that_pin_an_authority_go_with_it() {
        let mut registry = Registry::new();
        for (id, pins) in [("old", 1), ("new", 2)] {
            let token = Token {
                authority: KeyDigest([pins; 32]),
                secret: KeyDigest::default(),
                uses_left: 1,
                expires: Stamp(100),
                issued: Stamp(0),
                by: String::new(),
            };
            registry.state.roll.tokens.insert(id.to_owned(), token);
        }
        for step in [rotate(), drawn(1, 2), take_over(2)] {
            apply(&mut registry, step);
        }
        assert_eq!(registry.state.roll.tokens.len(), 2, "both count");
        apply(&mut registry, retire(2));
        let left: Vec<_> = registry.state.roll.tokens.keys().collect();
        assert_eq!(left, ["new"]);
    }
}
