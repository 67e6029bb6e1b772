//! Texts that PHP made, texts that nobody should make, and texts of chance.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// `procwarden-vector-key-32-bytes!!`
const LONG: &str = "base64:cHJvY3dhcmRlbi12ZWN0b3Ita2V5LTMyLWJ5dGVzISE=";
const SHORT: &str = "procwarden-key16";
const CLEAR: &str = "pa:ss wörd ☃";

/// `CLEAR`, made once by PHP 8.2 with `openssl_encrypt` and `hash_hmac`; the key beside each.
const VECTORS: [(&str, &str); 4] = [
    // aes-256-cbc
    (
        LONG,
        "eyJpdiI6IlQ2SlV0dFFVMmY3ZjdlSXJWWUIyYXc9PSIsInZhbHVlIjoieUlHTWIveW9raUU4cUpZK3lIWDdmQT09IiwibWFjIjoi\
         ZTQ4M2ZiZjJlZmM4MmI2ZDI5ZGY1ZjZlNTJhMDE1MjA4OTM0NDY1OTViZGY2ZmZmMWFmNTlmYjMyMTRjMTI4MSIsInRhZyI6IiJ9",
    ),
    // aes-128-cbc
    (
        SHORT,
        "eyJpdiI6IldlYXNDTkJ3WmFiYm92eC9GdDNLaFE9PSIsInZhbHVlIjoibmM4K1VNRUZwZnIvaEJEbk1mbTNwdz09IiwibWFjIjoi\
         ZGZjMGNkNGNlOTBhNzNmMzA0NzBiY2UxMjJjMjYxNmJlNmEzYWExMWU2NDMyNjJiNjZjODZjOTliNWE5NjJiNiIsInRhZyI6IiJ9",
    ),
    // aes-256-gcm
    (
        LONG,
        "eyJpdiI6IllQVkJNZ0w4MC9BZ0lxRmYiLCJ2YWx1ZSI6Ik1sNDhTRU4yeUJLR1pGTUZpSk9jIiwibWFjIjoiIiwidGFnIjoibGxT\
         bVAxZkVHb2NnWnhlYjZnRllnQT09In0=",
    ),
    // aes-128-gcm
    (
        SHORT,
        "eyJpdiI6IkNoYmsyaWRTU1hFS3VGcHYiLCJ2YWx1ZSI6ImN1VE43bHhBTzNaemNscXdOV2FiIiwibWFjIjoiIiwidGFnIjoidk1I\
         UWdhSFRqYVRFeHk1Mlhtd0d4UT09In0=",
    ),
];

/// The bytes ff fe under aes-256-cbc.
const NOT_UTF8: &str = "eyJpdiI6IjVGUjliT0c5cjE0SlJIbThMU1NaMHc9PSIsInZhbHVlIjoiRlppOVJyUUNoRm5zbitPOXI2cWJpdz09IiwibWFj\
     IjoiZTdhMTA3YmI2ZWU5ZDZiMmZjNGI3OWY2Y2E2MTg3NTU1MTEzYmM5ZDNjN2M3NDhlNmJjZmQ0ZmY3YmUyYzExOCIsInRhZyI6IiJ9";

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn wrap(json: &Value) -> String {
    STANDARD.encode(json.to_string())
}

fn unwrap(text: &str) -> Value {
    serde_json::from_slice(&STANDARD.decode(text).unwrap()).unwrap()
}

/// As PHP signs it.
fn signed(iv: &str, value: &str) -> Value {
    let mac = mac_of(&key(LONG), &format!("{iv}{value}"));
    json!({"iv": iv, "value": value, "mac": mac, "tag": ""})
}

#[test]
fn what_php_made_is_opened_with_its_key_alone() {
    for (mine, text) in VECTORS {
        assert_eq!(open(text, &[key(mine)]), Ok(Some(CLEAR.to_owned())), "{text}");
        let other = if mine == LONG { SHORT } else { LONG };
        for wrong in [other, "0123456789abcdef", "0123456789abcdef0123456789abcdef"] {
            assert_eq!(open(text, &[key(wrong)]), Ok(None), "{text} {wrong}");
        }
        let rotated = [key("0123456789abcdef0123456789abcdef"), key(other), key(mine)];
        assert_eq!(open(text, &rotated), Ok(Some(CLEAR.to_owned())), "{text}");
    }
}

#[test]
fn what_older_versions_wrote_is_opened_too() {
    let (mine, text) = VECTORS[0];
    let mut fields = unwrap(text);
    // Without a tag; and with PHP's own way of writing slashes.
    fields.as_object_mut().unwrap().remove("tag");
    let old = fields.to_string().replace('/', "\\/");
    assert!(old.contains("\\/"));
    assert_eq!(open(&STANDARD.encode(old), &[key(mine)]), Ok(Some(CLEAR.to_owned())));
    fields["tag"] = Value::Null;
    assert_eq!(open(&wrap(&fields), &[key(mine)]), Ok(Some(CLEAR.to_owned())));
}

#[test]
fn a_key_is_read_as_php_reads_it() {
    for text in [LONG, LONG.trim_end_matches('='), "procwarden-vector-key-32-bytes!!"] {
        assert_eq!(key(text).bytes.as_slice(), b"procwarden-vector-key-32-bytes!!");
    }
    let table = [
        ("base64:", KeyFault::Length(0)),
        ("base64:not base64", KeyFault::NotBase64),
        ("0123456789abcde", KeyFault::Length(15)),
        ("0123456789abcdef01234567", KeyFault::Length(24)),
        // Bytes are counted, not characters.
        ("ключключключключ0", KeyFault::Length(33)),
    ];
    for (text, fault) in table {
        assert_eq!(Key::parse(text).err(), Some(fault), "{text}");
    }
    assert_eq!(key("ключключключключ").bytes.len(), 32);
}

#[test]
fn what_is_not_laravels_says_what_it_lacks() {
    let iv = STANDARD.encode([7; 16]);
    let block = STANDARD.encode([7; 16]);
    let with = |name: &str, value: Value| {
        let mut fields = signed(&iv, &block);
        fields[name] = value;
        wrap(&fields)
    };
    let without = |name: &str| {
        let mut fields = signed(&iv, &block);
        fields.as_object_mut().unwrap().remove(name);
        wrap(&fields)
    };
    let gcm = |iv_len: usize, tag_len: usize| {
        let (iv, tag) = (STANDARD.encode(vec![7; iv_len]), STANDARD.encode(vec![7; tag_len]));
        wrap(&json!({"iv": iv, "value": "", "mac": "", "tag": tag}))
    };
    let deep = STANDARD.encode("[".repeat(10_000));
    let table = [
        ("a clear password".to_owned(), Fault::NotBase64),
        (format!("{}\n", VECTORS[0].1), Fault::NotBase64),
        (String::new(), Fault::NotJson),
        ("aHVudGVyMg==".to_owned(), Fault::NotJson),
        (deep, Fault::NotJson),
        (wrap(&json!(["iv", "value", "mac", "tag"])), Fault::NotAnObject),
        (wrap(&json!("text")), Fault::NotAnObject),
        (wrap(&json!({})), Fault::Missing("iv")),
        (without("iv"), Fault::Missing("iv")),
        (without("value"), Fault::Missing("value")),
        (without("mac"), Fault::Missing("mac")),
        (with("iv", json!(1)), Fault::Missing("iv")),
        (with("value", Value::Null), Fault::Missing("value")),
        (with("mac", json!({})), Fault::Missing("mac")),
        (with("tag", json!(false)), Fault::Missing("tag")),
        (with("iv", json!("%")), Fault::NotBase64Inside("iv")),
        (with("value", json!("%")), Fault::NotBase64Inside("value")),
        (with("tag", json!("%")), Fault::NotBase64Inside("tag")),
        (with("iv", json!("")), Fault::IvLength { found: 0, wanted: 16 }),
        (with("iv", json!(STANDARD.encode([7; 12]))), Fault::IvLength { found: 12, wanted: 16 }),
        (gcm(16, 16), Fault::IvLength { found: 16, wanted: 12 }),
        // A short tag would be easier to guess.
        (gcm(12, 4), Fault::TagLength(4)),
        (gcm(12, 17), Fault::TagLength(17)),
        ("A".repeat(LONGEST + 1), Fault::TooLong),
        (NOT_UTF8.to_owned(), Fault::NotUtf8),
    ];
    for (text, fault) in table {
        let shown = &text[..text.len().min(80)];
        assert_eq!(open(&text, &[key(LONG)]), Err(fault), "{shown}");
    }
    assert_eq!(open(&"A".repeat(LONGEST), &[key(LONG)]), Err(Fault::NotJson));
}

#[test]
fn what_is_signed_rightly_and_is_no_ciphertext_is_told_from_a_wrong_key() {
    let iv = STANDARD.encode([7; 16]);
    for bytes in [vec![], vec![7; 15], vec![7; 17], vec![7; 32]] {
        let text = wrap(&signed(&iv, &STANDARD.encode(&bytes)));
        assert_eq!(open(&text, &[key(LONG)]), Err(Fault::NotCiphertext), "{bytes:?}");
        // Without the right key nothing is decrypted, so nothing is known of its padding.
        assert_eq!(open(&text, &[key(SHORT)]), Ok(None), "{bytes:?}");
    }
}

#[test]
fn the_mac_is_compared_as_it_is_written() {
    let (mine, text) = VECTORS[0];
    let mut fields = unwrap(text);
    let mac = fields["mac"].as_str().unwrap().to_owned();
    for wrong in [String::new(), mac.to_uppercase(), mac[..63].to_owned(), format!("{mac}0")] {
        fields["mac"] = json!(wrong);
        assert_eq!(open(&wrap(&fields), &[key(mine)]), Ok(None), "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn texts_of_chance_are_refused(text in ".*", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let keys = [key(LONG), key(SHORT)];
        prop_assert!(open(&text, &keys).is_err());
        prop_assert!(open(&STANDARD.encode(&bytes), &keys).is_err());
    }

    /// Of the right form, so that the ciphers see them.
    #[test]
    fn fields_of_chance_are_refused(
        iv in proptest::collection::vec(any::<u8>(), 11..18),
        value in proptest::collection::vec(any::<u8>(), 0..70),
        tag in prop_oneof![Just(vec![]), proptest::collection::vec(any::<u8>(), 15..18)],
        mac in ".{0,70}",
    ) {
        let keys = [key(LONG), key(SHORT)];
        let text = |bytes: &[u8]| STANDARD.encode(bytes);
        let fields = json!({"iv": text(&iv), "value": text(&value), "mac": mac, "tag": text(&tag)});
        prop_assert!(!matches!(open(&wrap(&fields), &keys), Ok(Some(_))));
        // Signed rightly, so that they are decrypted: whatever comes of it, it is no panic.
        let _ = open(&wrap(&signed(&text(&iv), &text(&value))), &keys);
    }

    #[test]
    fn keys_of_chance_are_read_or_refused(text in ".*") {
        for text in [text.clone(), format!("base64:{text}")] {
            if let Ok(key) = Key::parse(&text) {
                prop_assert!(key.bytes.len() == 16 || key.bytes.len() == 32);
            }
        }
    }
}
