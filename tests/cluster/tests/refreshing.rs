//! `cluster refresh`: the newest package of each group, in whichever live member's directory.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use cluster::{A, B, C, Node, Op, Scene, foreign_pair};

fn becomes_active(scene: &Scene, on: Node, version: &str) {
    scene.until("it becomes active", Duration::from_secs(60), || {
        let listed = scene.json(on, "list");
        let of_newest = |key: &str| listed.pointer(&format!("/groups/0/sources/0/{key}"));
        let is_so = of_newest("version").is_some_and(|found| found == version)
            && of_newest("state").is_some_and(|found| found == "active");
        match is_so {
            true => Ok(()),
            false => Err(listed.to_string()),
        }
    });
}

#[test]
fn the_newest_of_all_members_directories_is_loaded_from_wherever_it_is_asked_for() {
    let scene = Scene::convention(3);
    scene.lay(A, &scene.build("1.0"));
    scene.lay(B, &scene.build("2.0"));
    scene.lay(C, &scene.build("10.0"));
    let refreshed = scene.json(A, "cluster refresh");
    let loaded = &refreshed["loaded"][0];
    assert_eq!(loaded["version"], "10.0", "{refreshed:#}");
    let path = loaded["path"].as_str().unwrap();
    assert!(
        path.starts_with("c:/") && path.ends_with("desk-10.0.tls"),
        "{path}"
    );
    becomes_active(&scene, B, "10.0");
    // Again, and from where an older one lies: nothing moves.
    for on in [A, B, C] {
        let again = scene.json(on, "cluster refresh");
        assert_eq!(again["loaded"], serde_json::json!([]), "{again:#}");
    }
    // `refresh` alone is for this node's directory.
    scene.lay(B, &scene.build("11.0"));
    let own = scene.json(C, "refresh");
    assert_eq!(own["loaded"], serde_json::json!([]), "{own:#}");
    let all = scene.json(C, "cluster refresh");
    assert_eq!(all["loaded"][0]["version"], "11.0", "{all:#}");
}

#[test]
fn a_package_in_another_members_directory_is_judged_by_the_own_keys() {
    let scene = Scene::convention(3);
    scene.lay(A, &scene.build("1.0"));
    // Its own directory's owner trusts it; nobody else does.
    let (private, public) = foreign_pair();
    scene.lay(C, &scene.build_signed("2.0", &private));
    scene.write(C, "foreign_tls.key", &public);
    scene.play(&[Op::refused(
        A,
        "cluster refresh",
        &["c:/", "desk-2.0.tls", "is refused", "no key"],
    )]);
    let listed = scene.json(A, "list");
    assert_eq!(listed["groups"], serde_json::json!([]), "{listed:#}");
}

#[test]
fn a_live_member_that_does_not_tell_its_directory_is_named() {
    let scene = Scene::convention(3);
    scene.lay(A, &scene.build("1.0"));
    let directory = scene.directory(C);
    let everybodys = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&directory, everybodys).unwrap();
    let refused = scene.run(A, "cluster refresh");
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(
        refused.stderr.contains("`c`") && refused.stderr.contains("--partial"),
        "{refused:?}"
    );
    let partial = scene.json(A, "cluster refresh --partial");
    assert_eq!(partial["loaded"][0]["version"], "1.0", "{partial:#}");
    becomes_active(&scene, B, "1.0");
}
