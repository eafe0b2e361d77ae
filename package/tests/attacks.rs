//! What a zip file may not do, even one that a trusted key signed.
//!
//! Each package here carries a good signature, made by openssl, over a bad zip file.
//! Source: `pitfalls` section 3.

mod common;

use std::io::Cursor;

use common::{End, Raw, Tree, check, raw_zip, signed_by_openssl};
use package::{ArchiveError, Limits, NameFault, VerifyError, ZipError, contents, unpack};

/// Why `verify` refuses a package of these members.
fn refused(members: &[Raw], end: &End) -> ZipError {
    match check(&signed_by_openssl(&raw_zip(members, end))) {
        Err(VerifyError::Archive(ArchiveError::Zip(error))) => error,
        other => panic!("not refused for its zip file: {other:?}"),
    }
}

/// Why `unpack` refuses a package that `verify` accepts; it fails if `verify` does not.
fn damaged(members: &[Raw]) -> ZipError {
    let package = signed_by_openssl(&raw_zip(members, &End::default()));
    let verified = check(&package).unwrap();
    let mut reader = Cursor::new(&package);
    match unpack(
        &mut reader,
        &verified,
        &Limits::default(),
        &mut Tree::default(),
    ) {
        Err(ArchiveError::Zip(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

fn unpacked(members: &[Raw], end: &End) -> Tree {
    let package = signed_by_openssl(&raw_zip(members, end));
    let verified = check(&package).unwrap();
    let mut tree = Tree::default();
    unpack(
        &mut Cursor::new(&package),
        &verified,
        &Limits::default(),
        &mut tree,
    )
    .unwrap();
    tree
}

fn a() -> Raw {
    Raw::file("a.py", b"A = 1\n")
}

fn b() -> Raw {
    Raw::deflated("b/c.py", b"B = 2\nB = 2\nB = 2\n")
}

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
fn several_disks_are_refused() {
    let error = refused(
        &[a()],
        &End {
            disk: 1,
            ..End::default()
        },
    );
    assert!(matches!(error, ZipError::EndRecord { .. }), "{error}");
    let error = refused(&[Raw { disk: 1, ..a() }], &End::default());
    assert!(matches!(error, ZipError::Entry { .. }), "{error}");
}

#[test]
fn a_local_header_other_than_the_central_one_is_refused() {
    let differs = |raw: Raw, field: &str| match refused(&[raw, b()], &End::default()) {
        ZipError::HeaderDiffers { member, what } => {
            assert_eq!((member.as_str(), what), ("a.py", field));
        }
        other => panic!("{field}: {other}"),
    };
    let Raw {
        crc, packed, size, ..
    } = a();
    differs(
        Raw {
            local_name: Some(b"z.py".to_vec()),
            ..a()
        },
        "name",
    );
    differs(
        Raw {
            local_name: Some(b"a.pyc".to_vec()),
            ..a()
        },
        "name",
    );
    differs(
        Raw {
            local: Some((crc ^ 1, packed, size)),
            ..a()
        },
        "checksum",
    );
    differs(
        Raw {
            local: Some((crc, packed + 1, size)),
            ..a()
        },
        "size",
    );
    differs(
        Raw {
            local: Some((crc, packed, size - 1)),
            ..a()
        },
        "size",
    );
    differs(
        Raw {
            local: Some((0, 0, 0)),
            ..a()
        },
        "checksum",
    );

    let mut zip = raw_zip(&[a(), b()], &End::default());
    zip[8] = 8;
    let error = check(&signed_by_openssl(&zip)).unwrap_err().to_string();
    assert!(error.contains("another compression method"), "{error}");
    zip[8] = 0;
    zip[6] = 2;
    let error = check(&signed_by_openssl(&zip)).unwrap_err().to_string();
    assert!(error.contains("another flag field"), "{error}");
    zip[6] = 0;
    zip[0] = b'p';
    let error = check(&signed_by_openssl(&zip)).unwrap_err().to_string();
    assert!(error.contains("another marker"), "{error}");
}

#[test]
fn overlapping_members_are_refused() {
    let error = refused(
        &[
            a(),
            Raw {
                offset: Some(0),
                ..a_named("z.py")
            },
        ],
        &End::default(),
    );
    assert!(matches!(error, ZipError::Overlap { .. }), "{error}");
    // The quoted overlap: the first member's data is the second's header and data.
    let inner = raw_zip(&[a_named("z.py")], &End::default());
    let quoted = Raw::file("a.py", &inner);
    let inside = Raw {
        offset: Some(34),
        data: Vec::new(),
        ..a_named("z.py")
    };
    let error = refused(&[quoted, inside], &End::default());
    assert!(matches!(error, ZipError::Overlap { .. }), "{error}");
    let error = refused(
        &[Raw {
            packed: 7,
            size: 7,
            ..a()
        }],
        &End::default(),
    );
    assert!(matches!(error, ZipError::Overlap { .. }), "{error}");
    let error = refused(
        &[Raw {
            offset: Some(u32::MAX - 1),
            ..a()
        }],
        &End::default(),
    );
    assert!(matches!(error, ZipError::Gap { .. }), "{error}");
}

fn a_named(name: &str) -> Raw {
    Raw::file(name, b"A = 1\n")
}

#[test]
fn bytes_that_belong_to_nothing_are_refused() {
    let rubbish = b"import evil\n".to_vec();
    let gap = |error: ZipError| assert!(matches!(error, ZipError::Gap { .. }), "{error}");
    gap(refused(
        &[
            Raw {
                after: rubbish.clone(),
                ..a()
            },
            b(),
        ],
        &End::default(),
    ));
    gap(refused(
        &[a()],
        &End {
            before_directory: rubbish.clone(),
            ..End::default()
        },
    ));
    let mut zip = raw_zip(&[a(), b()], &End::default());
    // A member that only a scan of local headers would find.
    let start = zip
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap();
    let first_entry = 46 + a().name.len();
    let end = zip.len() - 22;
    zip.drain(start..start + first_entry);
    let end = end - first_entry;
    zip[end + 8] = 1;
    zip[end + 10] = 1;
    let size = u32::try_from(end - start).unwrap();
    zip[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
    let error = check(&signed_by_openssl(&zip)).unwrap_err().to_string();
    assert!(error.contains("belong to no member"), "{error}");
    let empty = refused(
        &[],
        &End {
            before_directory: rubbish,
            ..End::default()
        },
    );
    assert!(matches!(empty, ZipError::EndRecord { .. }), "{empty}");
}

#[test]
fn a_directory_of_another_length_is_refused() {
    let more = refused(
        &[a(), b()],
        &End {
            members: Some(1),
            ..End::default()
        },
    );
    assert!(matches!(more, ZipError::EndRecord { .. }), "{more}");
    let fewer = refused(
        &[a(), b()],
        &End {
            members: Some(3),
            ..End::default()
        },
    );
    assert!(matches!(fewer, ZipError::Entry { index: 3, .. }), "{fewer}");
}

#[test]
fn a_comment_is_allowed_and_a_record_in_it_is_not() {
    unpacked(
        &[a()],
        &End {
            comment: b"made by hand".to_vec(),
            ..End::default()
        },
    );
    let inner = raw_zip(&[a_named("z.py")], &End::default());
    let zip = raw_zip(
        &[a()],
        &End {
            comment: inner,
            ..End::default()
        },
    );
    let error = package::sign(
        &mut Cursor::new(&zip),
        &common::private("one_pkcs8.pem"),
        package::Format::ViceroyFmt2,
        &mut Vec::new(),
    );
    assert!(error.is_err());
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

#[test]
fn the_marker_inside_members_does_not_matter() {
    let nested = raw_zip(&[a()], &End::default());
    let marker = Raw::file(
        "marker.bin",
        b"PK\x05\x06PK\x05\x06 and some more of it PK\x05\x06",
    );
    let tree = unpacked(&[Raw::file("nested.zip", &nested), marker], &End::default());
    assert_eq!(tree.0["nested.zip"].as_deref(), Some(nested.as_slice()));
}

fn zip64_extra(values: &[u64]) -> Vec<u8> {
    let bytes = u16::try_from(values.len() * 8).unwrap();
    let mut extra = [1_u16.to_le_bytes(), bytes.to_le_bytes()].concat();
    extra.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    extra
}

#[test]
fn zip64_is_read_where_sizes_say_so() {
    let Raw { crc, size, .. } = a();
    let sizes = zip64_extra(&[size.into(), size.into()]);
    let wide = Raw {
        size: u32::MAX,
        packed: u32::MAX,
        extra: sizes.clone(),
        local_extra: sizes.clone(),
        ..a()
    };
    let zip64 = End {
        zip64: true,
        ..End::default()
    };
    let tree = unpacked(&[wide.clone(), b()], &zip64);
    assert_eq!(tree.0["a.py"].as_deref(), Some(b"A = 1\n" as &[u8]));
    // Python's `force_zip64`: wide in the local header only.
    let local = Some((crc, u32::MAX, u32::MAX));
    unpacked(
        &[Raw {
            local,
            local_extra: sizes,
            ..a()
        }],
        &End::default(),
    );

    let without = refused(
        &[Raw {
            extra: Vec::new(),
            ..wide.clone()
        }],
        &zip64,
    );
    assert!(matches!(without, ZipError::Entry { .. }), "{without}");
    let other = zip64_extra(&[7, 7]);
    let differs = refused(
        &[Raw {
            local_extra: other,
            ..wide
        }],
        &zip64,
    );
    assert!(
        matches!(differs, ZipError::HeaderDiffers { .. }),
        "{differs}"
    );
}

#[test]
fn a_zip64_record_that_nothing_asks_for_is_refused() {
    // Python would believe it, others the plain record.
    let mut zip = raw_zip(
        &[a()],
        &End {
            zip64: true,
            ..End::default()
        },
    );
    let plain = raw_zip(&[a()], &End::default());
    let end = zip.len() - 22;
    zip[end..].copy_from_slice(&plain[plain.len() - 22..]);
    let error = check(&signed_by_openssl(&zip)).unwrap_err().to_string();
    assert!(error.contains("directory does not end"), "{error}");
}

#[test]
fn descriptors_after_the_data_must_agree() {
    let Raw {
        crc, packed, size, ..
    } = b();
    let with = |after: Vec<u8>| Raw {
        flags: 1 << 3,
        local: Some((0, 0, 0)),
        after,
        ..b()
    };
    let narrow: Vec<u8> = [crc, packed, size]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let mut wide = crc.to_le_bytes().to_vec();
    wide.extend(
        [packed, size]
            .iter()
            .flat_map(|v| u64::from(*v).to_le_bytes()),
    );
    let marked = |fields: &[u8]| [b"PK\x07\x08", fields].concat();
    for after in [narrow.clone(), marked(&narrow), wide.clone(), marked(&wide)] {
        unpacked(&[with(after), a()], &End::default());
    }
    let mut wrong = marked(&narrow);
    wrong[4] ^= 1;
    for after in [wrong, b"QQQQ".iter().chain(&narrow).copied().collect()] {
        let error = refused(&[with(after), a()], &End::default());
        assert!(matches!(error, ZipError::HeaderDiffers { .. }), "{error}");
    }
    let missing = refused(&[with(Vec::new()), a()], &End::default());
    assert!(matches!(missing, ZipError::Gap { .. }), "{missing}");
}

#[test]
fn a_package_that_changed_after_its_verification_is_noticed() {
    let package = signed_by_openssl(&raw_zip(&[a()], &End::default()));
    let verified = check(&package).unwrap();
    let shorter = contents(
        &mut Cursor::new(&package[1..]),
        &verified,
        &Limits::default(),
    );
    assert!(matches!(shorter, Err(ArchiveError::Changed)));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Not one byte of the structure may be changed into something else that is accepted with
    /// another meaning: either it is refused, or the members are what they were.
    #[test]
    fn a_changed_byte_of_the_zip_file_changes_no_member(at: proptest::sample::Index, byte: u8) {
        let zip = raw_zip(&[a(), b()], &End::default());
        let mut changed = zip.clone();
        let at = at.index(zip.len());
        changed[at] = byte;
        let key = common::private("one_pkcs8.pem");
        let mut package = Vec::new();
        let format = package::Format::ViceroyFmt2;
        if package::sign(&mut Cursor::new(&changed), &key, format, &mut package).is_ok() {
            let verified = check(&package).unwrap();
            let mut tree = Tree::default();
            let mut reader = Cursor::new(&package);
            if unpack(&mut reader, &verified, &Limits::default(), &mut tree).is_ok() {
                proptest::prop_assert_eq!(tree.0, unpacked(&[a(), b()], &End::default()).0);
            }
        }
    }
}
