//! Header lines and lengths of a package: one spelling each, and nothing cut off or added.
//!
//! Source: `pitfalls` section 1; defects D4, D5 and D19.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

mod common;

use std::io::Cursor;

use common::{check, ring, sample, signed, zip};
use package::{ArchiveError, Format, FormatError, Limits, VerifyError, verify};

/// `sample` with other header lines.
fn with_header(header: &str) -> VerifyError {
    let (package, _) = sample();
    let mut ends = package
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n');
    let (header_end, _) = ends.nth(2).unwrap();
    let mut other = header.as_bytes().to_vec();
    other.extend(&package[header_end + 1..]);
    check(&other).unwrap_err()
}

#[test]
fn malleable_numbers_in_the_header_are_refused() {
    let (_, zip) = sample();
    let marker = zip.len() - 22;
    let spellings = [
        " 256",
        "256 ",
        "+256",
        "0256",
        "2_56",
        "-256",
        "0x100",
        "256\r",
        "\u{662}56",
        "",
        "2.56e2",
        "99999999999999999999999",
    ];
    for number in spellings {
        let header = format!("ThespianDirectorFMT1-sha256\n{number}\n{marker}\n");
        let error = with_header(&header);
        assert!(
            matches!(
                error,
                VerifyError::Archive(ArchiveError::Number { line: 2, .. })
            ),
            "{number:?}: {error:?}"
        );
    }
    for spelling in [
        format!(" {marker}"),
        format!("0{marker}"),
        format!("+{marker}"),
    ] {
        let header = format!("ThespianDirectorFMT1-sha256\n256\n{spelling}\n");
        let error = with_header(&header);
        assert!(matches!(
            error,
            VerifyError::Archive(ArchiveError::Number { line: 3, .. })
        ));
        assert!(error.to_string().contains(&spelling), "{error}");
    }
}

#[test]
fn a_renamed_magic_is_refused() {
    let (_, zip) = sample();
    let rest = format!("256\n{}\n", zip.len() - 22);
    let refused = |first: &str| match with_header(&format!("{first}\n{rest}")) {
        VerifyError::Archive(error) => error,
        other => panic!("{first}: {other}"),
    };
    for first in [
        "ThespianDirectorFMT1x-sha256",
        "ThespianDirectorFMT3-sha256",
    ] {
        assert!(matches!(
            refused(first),
            ArchiveError::Format(FormatError::Unknown { .. })
        ));
    }
    assert!(matches!(refused("PK"), ArchiveError::NotAPackage { .. }));
    assert!(matches!(
        refused("thespiandirector-sha256"),
        ArchiveError::NotAPackage { .. }
    ));
    let none = refused("ThespianDirectorFMT1");
    assert!(matches!(none, ArchiveError::HashName { .. }), "{none}");
    for hash in [
        "sha1", "md5", "sha512", "SHA256", "sha256 ", "sha256\r", "__init__",
    ] {
        let first = format!("ThespianDirectorFMT1-{hash}");
        assert!(
            matches!(refused(&first), ArchiveError::HashName { .. }),
            "{hash:?}"
        );
    }
}

#[test]
fn the_format_to_come_is_named() {
    for first in ["DirectorFMT2", "DirectorFMT2-sha256"] {
        let error = with_header(&format!("{first}\n256\n"));
        assert_eq!(
            error.to_string(),
            "format `DirectorFMT2` is not supported yet; use `ThespianDirectorFMT1`"
        );
    }
    assert_eq!("DirectorFMT2".parse::<Format>(), Err(FormatError::Reserved));
}

#[test]
fn a_package_that_was_never_signed_is_named() {
    let (_, zip) = sample();
    let error = with_header(&format!(
        "ThespianDirectorFMT1-sha256\n0\n{}\n",
        zip.len() - 22
    ));
    assert!(matches!(
        error,
        VerifyError::Archive(ArchiveError::SignatureLength { bytes: 0 })
    ));
    assert!(error.hint().contains("never signed"));
}

#[test]
fn another_place_for_the_marker_is_refused() {
    // A member that contains the marker allows two headers for one zip file: one hash is enough.
    let inner = zip(&[("inner.py", b"x = 1\n")]);
    let outer = common::raw_zip(
        &[common::Raw::file("nested.zip", &inner)],
        &Default::default(),
    );
    let package = signed(&outer, Format::DirectorFmt1);
    check(&package).unwrap();
    let first = outer
        .windows(4)
        .position(|window| window == b"PK\x05\x06")
        .unwrap();
    assert!(first < outer.len() - 22);
    let mut other = format!("ThespianDirectorFMT1-sha256\n256\n{first}\n").into_bytes();
    other.extend(&outer[..first]);
    other.extend(&outer[first + 4..]);
    other.extend(&package[package.len() - 256..]);
    assert!(matches!(
        check(&other),
        Err(VerifyError::Archive(
            ArchiveError::EndRecordElsewhere { .. }
        ))
    ));
}

#[test]
fn a_package_truncated_anywhere_is_refused() {
    let (package, _) = sample();
    for end in 0..package.len() {
        assert!(check(&package[..end]).is_err(), "cut at {end}");
    }
    check(&package).unwrap();
}

#[test]
fn trailing_bytes_are_refused() {
    let (mut package, _) = sample();
    package.push(b'\n');
    assert!(check(&package).is_err());
}

#[test]
fn a_package_over_the_limit_is_refused_before_it_is_read() {
    let (package, _) = sample();
    let limits = Limits {
        package_bytes_max: package.len() as u64 - 1,
        ..Limits::default()
    };
    let refused = verify(&mut Cursor::new(&package), &ring(&["one_tls.key"]), &limits);
    assert!(matches!(
        refused,
        Err(VerifyError::Archive(ArchiveError::TooLarge { .. }))
    ));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]

    #[test]
    fn a_bit_flip_anywhere_is_refused(at: proptest::sample::Index, bit in 0..8_u8) {
        let (mut package, _) = sample();
        let at = at.index(package.len());
        package[at] ^= 1_u8 << bit;
        proptest::prop_assert!(check(&package).is_err(), "bit {} of byte {}", bit, at);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        let mut package = b"ThespianDirectorFMT1-sha256\n256\n".to_vec();
        proptest::prop_assert!(check(&bytes).is_err());
        package.extend(bytes);
        proptest::prop_assert!(check(&package).is_err());
    }
}
