//! What members of a zip file may not be, even in one that a trusted key signed.
//!
//! Each package here carries a good signature, made by openssl, over a bad zip file.
//! Source: `pitfalls` section 3.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

mod common;

use std::io::Cursor;

use common::{End, Raw, a, b, damaged, raw_zip, refused, signed_by_openssl, unpacked};
use package::{Limits, NameFault, ZipError};

#[test]
fn an_ordinary_zip_file_passes() {
    let folder = Raw {
        mode: 0o040_755,
        ..Raw::file("data/", b"")
    };
    let tree = unpacked(&[a(), b(), folder], &End::default());
    let names: Vec<_> = tree.0.keys().map(String::as_str).collect();
    assert_eq!(names, ["a.py", "b", "b/c.py", "data"]);
    assert_eq!(
        tree.0["b/c.py"].as_deref(),
        Some(b"B = 2\nB = 2\nB = 2\n" as &[u8])
    );
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    let cases = [
        ("../up.py", NameFault::Dots),
        ("a/../../up.py", NameFault::Dots),
        ("/etc/cron.d/x", NameFault::Absolute),
        ("a\\b.py", NameFault::Backslash),
        ("C:/x.py", NameFault::Drive),
        ("a\0.py", NameFault::Control),
        ("a./b.py", NameFault::Trailing),
        ("a.py ", NameFault::Trailing),
        ("./a.py", NameFault::Dots),
        ("", NameFault::Empty),
    ];
    for (bad, wanted) in cases {
        let error = refused(&[a(), Raw::file(bad, b"")], &End::default());
        let ZipError::Name { name, fault } = &error else {
            panic!("{bad:?}: {error}")
        };
        assert_eq!((name.as_str(), *fault), (bad, wanted));
    }
}

#[test]
fn names_that_are_not_marked_and_valid_utf8_are_refused() {
    let encoding = |error: ZipError| {
        matches!(
            error,
            ZipError::Name {
                fault: NameFault::Encoding,
                ..
            }
        )
    };
    let marked = Raw {
        name: b"\xff.py".to_vec(),
        flags: 1 << 11,
        ..a()
    };
    let unmarked = Raw {
        flags: 0,
        ..Raw::file("\u{e4}.py", b"")
    };
    assert!(encoding(refused(&[marked], &End::default())));
    assert!(encoding(refused(&[unmarked], &End::default())));
    unpacked(&[Raw::file("\u{e4}.py", b"")], &End::default());
}

#[test]
fn a_second_name_in_an_extra_field_is_refused() {
    let extra = [
        &0x7075_u16.to_le_bytes()[..],
        &6_u16.to_le_bytes(),
        b"\x01....b",
    ]
    .concat();
    let error = refused(&[Raw { extra, ..a() }], &End::default());
    assert!(matches!(error, ZipError::Entry { index: 1, .. }), "{error}");
}

#[test]
fn duplicates_are_refused_also_after_case_folding_and_nfc() {
    let pairs = [
        ("a.py", "a.py"),
        ("A/b.py", "a/B.PY"),
        ("\u{e9}.py", "e\u{301}.py"),
        ("\u{e9}", "E\u{301}"),
        ("data/", "data"),
    ];
    for (one, two) in pairs {
        let of = |name| Raw {
            mode: 0,
            ..Raw::file(name, b"")
        };
        let error = refused(&[of(one), of(two)], &End::default());
        assert!(
            matches!(error, ZipError::Duplicate { .. }),
            "{one:?} {two:?}: {error}"
        );
    }
}

#[test]
fn a_file_that_is_also_a_folder_is_refused() {
    // "a-b" sorts between "a" and "a/": neighbours in plain order would not show it.
    for inside in ["a/b.py", "A/b/c.py"] {
        let members = [
            Raw::file(inside, b""),
            Raw::file("a-b", b""),
            Raw::file("a", b""),
        ];
        let error = refused(&members, &End::default());
        assert!(matches!(error, ZipError::FileIsFolder { .. }), "{error}");
    }
}

#[test]
fn links_devices_and_pipes_are_refused() {
    for mode in [
        0o120_777, 0o020_644, 0o060_644, 0o010_644, 0o140_755, 0o040_755,
    ] {
        let error = refused(&[Raw { mode, ..a() }], &End::default());
        assert!(
            matches!(error, ZipError::Special { .. }),
            "{mode:o}: {error}"
        );
    }
    let file_as_folder = Raw {
        mode: 0o100_644,
        ..Raw::file("data/", b"")
    };
    assert!(matches!(
        refused(&[file_as_folder], &End::default()),
        ZipError::Special { .. }
    ));
    let folder_with_content = Raw {
        mode: 0,
        ..Raw::file("data/", b"x")
    };
    assert!(matches!(
        refused(&[folder_with_content], &End::default()),
        ZipError::Damaged { .. }
    ));
}

#[test]
fn encryption_and_other_methods_are_refused() {
    for flags in [1, 1 << 6, 1 << 13] {
        let error = refused(&[Raw { flags, ..a() }], &End::default());
        assert!(matches!(error, ZipError::Encrypted { .. }), "{error}");
    }
    for method in [1, 6, 9, 12, 14, 93, 95, 98, 99] {
        let error = refused(&[Raw { method, ..a() }], &End::default());
        assert!(matches!(error, ZipError::Unsupported { .. }), "{error}");
    }
    let patched = refused(
        &[Raw {
            flags: 1 << 5,
            ..a()
        }],
        &End::default(),
    );
    assert!(matches!(patched, ZipError::Unsupported { .. }));
}

#[test]
fn a_zip_bomb_is_refused_before_it_is_unpacked() {
    let zeros = vec![0; 4 << 20];
    let error = refused(&[Raw::deflated("zeros", &zeros)], &End::default());
    assert!(matches!(error, ZipError::Ratio { .. }), "{error}");
    // Small files of zeros are common and harmless.
    unpacked(
        &[Raw::deflated("zeros", &zeros[..1 << 20])],
        &End::default(),
    );
    let claims = Raw {
        size: u32::MAX - 1,
        ..Raw::deflated("a", &[7; 100])
    };
    let members = [
        claims.clone(),
        Raw {
            name: b"b".to_vec(),
            ..claims.clone()
        },
    ];
    let error = refused(&members, &End::default());
    assert!(matches!(error, ZipError::TooLarge { .. }), "{error}");
}

#[test]
fn a_bomb_that_lies_about_its_size_stops_at_the_announced_size() {
    // `Tree` fails the test if more than the announced size is written.
    let mut bomb = Raw::deflated("zeros", &vec![0; 4 << 20]);
    bomb.size = 1000;
    let error = damaged(&[bomb]);
    assert!(error.to_string().contains("more than its size"), "{error}");
}

#[test]
fn too_many_members_are_refused() {
    let package = signed_by_openssl(&raw_zip(&[a(), b()], &End::default()));
    let limits = Limits {
        members_max: 1,
        ..Limits::default()
    };
    let keys = common::ring(&["one_tls.key"]);
    let error = package::verify(&mut Cursor::new(&package), &keys, &limits).unwrap_err();
    assert!(error.to_string().contains("`2` members"), "{error}");
}

#[test]
fn damaged_data_is_refused() {
    let error = |raw: Raw| damaged(&[raw]).to_string();
    let mut wrong_crc = a();
    wrong_crc.crc ^= 1;
    assert!(error(wrong_crc).contains("checksum"));
    let mut short = Raw::deflated("a.py", &[b'x'; 500]);
    short.size = 501;
    assert!(error(short).contains("less than its size"));
    let mut long = Raw::deflated("a.py", &[b'x'; 500]);
    long.size = 499;
    assert!(error(long).contains("more than its size"));
    let mut trailing = Raw::deflated("a.py", &[b'x'; 500]);
    trailing.data.extend(b"tail");
    trailing.packed += 4;
    assert!(error(trailing).contains("bytes follow"));
    let mut rubbish = Raw::deflated("a.py", &[b'x'; 500]);
    rubbish.data = vec![0xff; 20];
    rubbish.packed = 20;
    assert!(error(rubbish).contains("compressed data is wrong"));
    let stored = Raw { size: 5, ..a() };
    assert!(matches!(
        refused(&[stored], &End::default()),
        ZipError::Damaged { .. }
    ));
}
