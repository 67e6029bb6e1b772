//! The few fields of a lock that are judged, read without building the rest of it.
//!
//! All of it is walked as strictly as a map of everything would be, so that what is a lock here can be shown as one:
//! numbers out of range, halves of surrogates and depths beyond the parser's limit make it no JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// One field's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Field<'a> {
    Null,
    Integer(i64),
    /// A number that is no `i64`.
    Number(f64),
    Text(Cow<'a, str>),
    /// A boolean, an array or an object.
    Other,
}

impl<'a> Field<'a> {
    pub(super) fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Integer(_) | Self::Number(_) | Self::Other => None,
        }
    }
}

/// The fields that are judged; where one stands twice, the last counts.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) uuid: Option<Field<'a>>,
    pub(super) id: Option<Field<'a>>,
    pub(super) pid: Option<Field<'a>>,
    pub(super) started: Option<Field<'a>>,
    pub(super) stage_updated: Option<Field<'a>>,
    /// There is any field at all.
    pub(super) any: bool,
}

/// Which field a key names.
enum Which {
    Uuid,
    Id,
    Pid,
    Started,
    StageUpdated,
    Other,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(which) = map.next_key::<Which>()? {
                    fields.any = true;
                    let place = match which {
                        Which::Uuid => &mut fields.uuid,
                        Which::Id => &mut fields.id,
                        Which::Pid => &mut fields.pid,
                        Which::Started => &mut fields.started,
                        Which::StageUpdated => &mut fields.stage_updated,
                        Which::Other => {
                            map.next_value_seed(Walk)?;
                            continue;
                        }
                    };
                    *place = Some(map.next_value()?);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Which {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Which;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Which, E> {
                Ok(match name {
                    "mb_project_uuid" => Which::Uuid,
                    "brz_project_id" => Which::Id,
                    "pid" => Which::Pid,
                    "started_timestamp" => Which::Started,
                    "stage_updated_at" => Which::StageUpdated,
                    _ => Which::Other,
                })
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// A value that nobody needs: walked, not built.
struct Walk;

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Walk)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<Which>()?.is_some() {
            map.next_value_seed(Walk)?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Field<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Field<'de>, E> {
                Ok(Field::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Field<'de>, E> {
                Ok(Field::Other)
            }
            fn visit_i64<E>(self, number: i64) -> Result<Field<'de>, E> {
                Ok(Field::Integer(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Field<'de>, E> {
                // A float of that size has no more than its first digits, as in a map's `as_f64`.
                #[allow(clippy::cast_precision_loss)]
                Ok(i64::try_from(number).map_or(Field::Number(number as f64), Field::Integer))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Field<'de>, E> {
                Ok(Field::Number(number))
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Field<'de>, E> {
                Ok(Field::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Field<'de>, E> {
                Ok(Field::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Field<'de>, A::Error> {
                Walk.visit_seq(seq).map(|()| Field::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Field<'de>, A::Error> {
                Walk.visit_map(map).map(|()| Field::Other)
            }
        }
        deserializer.deserialize_any(One)
    }
}
