//! OpenSSL cipher lists (ciphers(1)), for the suites of TLS 1.2 that can be offered.
//!
//! What is understood: names of suites, the groups below, `+` between groups for what is in all of
//! them, and in front of a word `!` (never), `-` (not for now) and `+` (last). `@STRENGTH` sorts by the
//! length of the key, `@SECLEVEL=` is passed over. Whatever else there is comes back as dropped.

use rustls::{SupportedCipherSuite, crypto::aws_lc_rs::cipher_suite as suite};

use super::{Dropped, OfferError, words};

const SETTING: &str = "ROUTER_CIPHERS";
const CAN: &str = "ECDHE with AES-GCM or ChaCha20, such as ECDHE-RSA-AES128-GCM-SHA256,";

/// A suite with what cipher lists call it.
struct Known {
    name: &'static str,
    suite: SupportedCipherSuite,
    ecdsa: bool,
    cipher: Cipher,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cipher {
    Aes128,
    Aes256,
    ChaCha20,
}

const fn known(
    name: &'static str,
    suite: SupportedCipherSuite,
    ecdsa: bool,
    cipher: Cipher,
) -> Known {
    Known { name, suite, ecdsa, cipher }
}

/// In the order that is ours where the user gives none (decisions 14).
static ALL: [Known; 6] = [
    known(
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        true,
        Cipher::Aes128,
    ),
    known(
        "ECDHE-RSA-AES128-GCM-SHA256",
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        false,
        Cipher::Aes128,
    ),
    known(
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        true,
        Cipher::Aes256,
    ),
    known(
        "ECDHE-RSA-AES256-GCM-SHA384",
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        false,
        Cipher::Aes256,
    ),
    known(
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        true,
        Cipher::ChaCha20,
    ),
    known(
        "ECDHE-RSA-CHACHA20-POLY1305",
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        false,
        Cipher::ChaCha20,
    ),
];

/// Groups of OpenSSL that hold no suite that can be offered.
const EMPTY: &[&str] = &[
    "3DES",
    "ADH",
    "AECDH",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DHEPSK",
    "DSS",
    "ECDHEPSK",
    "EDH",
    "EXP",
    "EXPORT",
    "IDEA",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "RSAPSK",
    "SEED",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA384",
    "SRP",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "aDSS",
    "aGOST",
    "aNULL",
    "aPSK",
    "aSRP",
    "eNULL",
    "kDHE",
    "kDHEPSK",
    "kECDHEPSK",
    "kEDH",
    "kGOST",
    "kPSK",
    "kRSA",
    "kRSAPSK",
    "kSRP",
];

impl Known {
    /// Whether `word` names this suite, or a group that it is in.
    fn is_in(&self, word: &str) -> bool {
        match word {
            "ALL" | "DEFAULT" | "PROFILE=SYSTEM" | "HIGH" | "TLSv1.2" | "ECDHE" | "EECDH"
            | "ECDH" | "kECDHE" | "kEECDH" => true,
            "ECDSA" | "aECDSA" => self.ecdsa,
            "aRSA" => !self.ecdsa,
            "AES" | "AESGCM" | "FIPS" => self.cipher != Cipher::ChaCha20,
            "AES128" => self.cipher == Cipher::Aes128,
            "AES256" => self.cipher == Cipher::Aes256,
            "CHACHA20" => self.cipher == Cipher::ChaCha20,
            _ => word == self.name || self.suite.suite().as_str() == Some(word),
        }
    }

    fn bits(&self) -> u16 {
        if self.cipher == Cipher::Aes128 { 128 } else { 256 }
    }
}

/// The suites that `value` chooses, in its order.
pub(super) fn select(
    value: &str,
    dropped: &mut Vec<Dropped>,
) -> Result<Vec<SupportedCipherSuite>, OfferError> {
    let mut note = |word: &str, why| {
        dropped.push(Dropped { setting: SETTING, word: word.to_owned(), why });
    };
    // The lists behind these names in OpenSSL's router hold all six, and more that cannot be offered.
    match value.trim() {
        "" | "intermediate" | "modern" => return Ok(suites(&all())),
        "old" => {
            note("old", "means the same as intermediate: its further suites cannot be offered");
            return Ok(suites(&all()));
        },
        _ => {},
    }
    let (mut chosen, mut never): (Vec<&Known>, Vec<&str>) = (Vec::new(), Vec::new());
    for word in words(value) {
        if word == "@STRENGTH" {
            chosen.sort_by_key(|known| std::cmp::Reverse(known.bits()));
            continue;
        }
        if word.starts_with("@SECLEVEL=") {
            continue;
        }
        let (operator, group) = match word.as_bytes().first() {
            Some(operator @ (b'!' | b'-' | b'+')) => (*operator, &word[1..]),
            _ => (b' ', word),
        };
        let matched: Vec<&Known> =
            ALL.iter().filter(|known| group.split('+').all(|part| known.is_in(part))).collect();
        if matched.is_empty() && !(is_empty_group(group) && matches!(operator, b'!' | b'-')) {
            note(word, reason(group));
        }
        let is_matched = |known: &&Known| matched.iter().any(|other| other.name == known.name);
        match operator {
            b'!' | b'-' => {
                chosen.retain(|known| !is_matched(known));
                if operator == b'!' {
                    never.extend(matched.iter().map(|known| known.name));
                }
            },
            b'+' => chosen.sort_by_key(is_matched),
            _ => {
                let held: Vec<&str> = chosen.iter().map(|known| known.name).collect();
                let is_new =
                    |known: &&Known| !held.contains(&known.name) && !never.contains(&known.name);
                chosen.extend(matched.into_iter().filter(is_new));
            },
        }
    }
    if chosen.is_empty() {
        let value = value.to_owned();
        return Err(OfferError::Nothing { setting: SETTING, value, can: CAN });
    }
    Ok(suites(&chosen))
}

fn all() -> Vec<&'static Known> {
    ALL.iter().collect()
}

fn suites(chosen: &[&Known]) -> Vec<SupportedCipherSuite> {
    chosen.iter().map(|known| known.suite).collect()
}

/// True for groups, or suites by name, that OpenSSL has and that hold nothing for us.
fn is_empty_group(group: &str) -> bool {
    group.split('+').any(|part| EMPTY.contains(&part)) || group.contains('-')
}

fn reason(group: &str) -> &'static str {
    if group.starts_with("TLS_") {
        "is a suite of TLS 1.3, for ROUTER_CIPHERSUITES"
    } else if is_empty_group(group) || ALL.iter().any(|known| known.is_in(group)) {
        "holds no suite that can be offered"
    } else {
        "is not known"
    }
}
