//! How a zip file may not be put together, even one that a trusted key signed.
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

use common::{End, Raw, Tree, a, a_named, b, check, raw_zip, refused, signed_by_openssl, unpacked};
use package::{ArchiveError, Limits, VerifyError, ZipError, contents, unpack};

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
fn bytes_after_the_end_record_are_refused() {
    let mut zip = raw_zip(&[a()], &End::default());
    zip.extend(b"import evil\n");
    let error = check(&signed_by_openssl(&zip)).unwrap_err();
    let no_end = matches!(
        error,
        VerifyError::Archive(ArchiveError::Zip(ZipError::NoEndRecord))
    );
    assert!(no_end, "{error}");
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
