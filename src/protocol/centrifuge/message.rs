//! How a message is written down once for both wires.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::raw;

/// Declares messages the way `client.proto` does: `name: type = (kind, tag = n)`, where the bracket is prost's.
///
/// On the JSON wire a zero value is left out; the few messages that keep some of theirs are written without this.
macro_rules! messages {
    ($(
        $(#[$about:meta])*
        $name:ident { $( $(#[$doc:meta])* $field:ident : $type:ty = $wire:tt, )* }
    )*) => { $(
        #[derive(Clone, PartialEq, ::prost::Message, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default)]
        $(#[$about])*
        pub struct $name { $(
            $(#[$doc])*
            #[prost $wire]
            #[serde(
                skip_serializing_if = "crate::protocol::centrifuge::message::Field::is_zero",
                serialize_with = "crate::protocol::centrifuge::message::Field::write",
                deserialize_with = "crate::protocol::centrifuge::message::Field::read"
            )]
            pub $field: $type,
        )* }
    )* };
}
pub(super) use messages;

/// What a field's type means on the JSON wire.
pub(super) trait Field: Sized {
    fn is_zero(&self) -> bool;
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Reads `null` as the zero value, as the reference server does.
macro_rules! fields {
    ($( [$($generics:tt)*] $type:ty, $value:ident => $is_zero:expr; )*) => { $(
        impl<$($generics)*> Field for $type {
            fn is_zero(&self) -> bool {
                let $value = self;
                $is_zero
            }

            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }

            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Option::<Self>::deserialize(deserializer).map(Option::unwrap_or_default)
            }
        }
    )* };
}

fields! {
    [] bool, value => !*value;
    [] u32, value => *value == 0;
    [] i32, value => *value == 0;
    [] u64, value => *value == 0;
    [] i64, value => *value == 0;
    [] String, value => value.is_empty();
    [T: Serialize + DeserializeOwned] Vec<T>, value => value.is_empty();
    [T: Serialize + DeserializeOwned] Option<T>, value => value.is_none();
    [T: Serialize + DeserializeOwned] BTreeMap<String, T>, value => value.is_empty();
}

/// Type `bytes` of the schema: JSON itself on the JSON wire.
impl Field for Bytes {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::serialize(self, serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        raw::deserialize(deserializer)
    }
}
