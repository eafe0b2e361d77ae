//! What a node keeps of the authorities when one replaces another.

use super::*;
use crate::directory::Directory;
use protocol::registry::Rotation;

const NOW: Stamp = Stamp(1_800_000_000_000);

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn open(&self) -> Identity {
        let state = Directory::at(self.folder.path()).state();
        Identity::open(&state, true, NOW).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.folder
            .path()
            .join("state/identity")
            .join(name)
            .exists()
    }
}

fn told(roots: &[&Root], link: Option<&[u8]>, changes: u64) -> Authorities {
    Authorities {
        roots: roots.iter().map(|root| (*root).clone()).collect(),
        links: link.map(<[u8]>::to_vec).into_iter().collect(),
        changes,
        ..Authorities::default()
    }
}

fn follow(identity: &mut Identity, told: &Authorities) -> bool {
    let convention = identity.convention().unwrap();
    identity.follow(convention, told).unwrap().is_some()
}

#[test]
fn a_voters_key_takes_over_from_another_and_outlasts_a_restart() {
    let place = Place::new();
    let mut founder = place.open();
    let drawn = founder.draw_authority(NOW).unwrap().unwrap();
    // Asked again by the same leader it is the same key.
    let again = founder.draw_authority(NOW).unwrap().unwrap();
    assert_eq!(
        (again.root, again.current),
        (drawn.root.clone(), drawn.current.clone())
    );
    assert!(place.has(CA_NEXT_KEY));
    let mut founder = place.open();
    assert_eq!(
        founder.held_authorities(),
        [drawn.current.key, drawn.root.key]
    );
    assert_eq!(founder.authority_key().unwrap().0, drawn.current.key.0);

    let both = told(&[&drawn.root, &drawn.current], Some(&drawn.link), 2);
    assert!(follow(&mut founder, &both));
    assert!(founder.is_outdated() && !place.has(CA_NEXT_KEY));
    assert!(founder.renew_own(NOW).unwrap() && !founder.is_outdated());
    let old = told(&[&drawn.current], None, 1);
    assert!(!follow(&mut founder, &old), "nobody goes back");
    let retired = Authorities {
        retired: vec![drawn.current.clone()],
        ..told(&[&drawn.root], Some(&drawn.link), 3)
    };
    assert!(follow(&mut founder, &retired));
    let again = place.open();
    assert_eq!(again.held_authorities(), [drawn.root.key]);
    assert_eq!(again.certified_by(), again.authority_key());
    let shown = again.credentials().unwrap().unwrap();
    assert_eq!(
        shown.trust(),
        founder.credentials().unwrap().unwrap().trust()
    );
    assert_eq!(shown.trust().links.len() + shown.trust().retired.len(), 2);
}

#[test]
fn a_key_that_did_not_come_to_issue_is_deleted() {
    let place = Place::new();
    let mut founder = place.open();
    let drawn = founder.draw_authority(NOW).unwrap().unwrap();
    let rotation = |step| Authorities {
        rotation: Some(Rotation {
            step,
            by: String::new(),
            since: NOW,
        }),
        ..told(&[&drawn.current], None, 1)
    };
    follow(&mut founder, &rotation(RotationStep::Wanted));
    assert!(place.has(CA_NEXT_KEY));
    let another = Root {
        key: KeyDigest([9; 32]),
        certificate: Vec::new(),
    };
    let link = Vec::new();
    let step = RotationStep::Drawn {
        root: another,
        link,
    };
    follow(&mut founder, &rotation(step));
    assert_eq!(founder.held_authorities(), [drawn.current.key]);
    assert!(!place.has(CA_NEXT_KEY));
    founder.draw_authority(NOW).unwrap();
    founder.drop_authority().unwrap();
    assert!(!place.has(CA_NEXT_KEY) && !place.has(CA_KEY));
}

#[test]
fn a_member_that_knows_an_older_authority_renews_by_the_link() {
    let (voter, away) = (Place::new(), Place::new());
    let mut voter = voter.open();
    let mut member = away.open();
    // As after a join.
    let convention = voter.convention().unwrap();
    let request = member.key().request().unwrap();
    let issue = |voter: &Identity| {
        let issued = voter.issue(&request, member.node(), NOW).unwrap();
        issued.unwrap().to_der()
    };
    let response = protocol::wire::JoinResponse {
        convention,
        node: member.node(),
        chain: issue(&voter),
        document: Vec::new(),
    };
    let drawn = voter.draw_authority(NOW).unwrap().unwrap();
    let both = told(&[&drawn.root, &drawn.current], Some(&drawn.link), 2);
    let before = voter.authority_key().unwrap();
    follow(&mut voter, &both);
    let retired = Authorities {
        retired: vec![drawn.current.clone()],
        ..told(&[&drawn.root], Some(&drawn.link), 3)
    };
    let while_both = issue(&voter);
    follow(&mut voter, &retired);
    let after = issue(&voter);
    member.moved(&response, before, NOW).unwrap();
    member.renewed(after.clone(), NOW).unwrap();
    assert_eq!(member.certified_by().unwrap().0, drawn.root.key.0);
    assert!(!member.is_outdated());
    // Until the registry says more, what it knew counts as well; a stale copy changes nothing.
    assert_eq!(member.credentials().unwrap().unwrap().trusted().len(), 2);
    let stale = told(&[], None, 0);
    assert!(!follow(&mut member, &stale));
    assert!(follow(&mut member, &retired));
    let mut member = away.open();
    assert_eq!(member.credentials().unwrap().unwrap().trusted().len(), 1);
    // What was issued while both counted is fine as well; what the old one issued is not.
    member.renewed(while_both, NOW).unwrap();
    member.renewed(response.chain, NOW).unwrap_err();
    assert_eq!(member.certified_by().unwrap().0, drawn.root.key.0);
}
