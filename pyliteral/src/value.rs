//! A Python value of the built-in types that a literal can denote.
//!
//! Not here: text form (`repr`), equality as Python has it (`identity`).

use num_bigint::BigInt;

use crate::identity;

/// A Python value.
///
/// Equality is Python's: `1 == 1.0 == True`, dictionaries and sets compare without order.
#[derive(Debug, Clone)]
pub enum Value {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// An integer of any size.
    Int(BigInt),
    /// A float.
    Float(f64),
    /// A complex number.
    Complex {
        /// The real part.
        real: f64,
        /// The imaginary part.
        imag: f64,
    },
    /// A string; Python's lone surrogates have no place here.
    Str(String),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A tuple.
    Tuple(Vec<Self>),
    /// A list.
    List(Vec<Self>),
    /// A set, without duplicates, in the order written.
    Set(Vec<Self>),
    /// A dictionary in insertion order, without duplicate keys.
    Dict(Vec<(Self, Self)>),
}

impl Value {
    /// A dictionary; of equal keys the last value wins, in the place of the first.
    ///
    /// Pairs whose key cannot be one in Python (a list, set or dictionary) are left out.
    pub fn dict(pairs: impl IntoIterator<Item = (Self, Self)>) -> Self {
        let mut merged = identity::Pairs::default();
        for (key, value) in pairs {
            let _unhashable_is_left_out = merged.insert(key, value);
        }
        Self::Dict(merged.into_pairs())
    }

    /// A set; of equal members the first stays, those that cannot be members are left out.
    pub fn set(members: impl IntoIterator<Item = Self>) -> Self {
        let mut merged = identity::Pairs::default();
        for member in members {
            let _unhashable_is_left_out = merged.insert(member, Self::None);
        }
        Self::Set(merged.into_keys())
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a byte string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The truth value of a `bool`; `None` for every other type, integers too.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// An integer that fits; `None` for every other type, `bool` too.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(int) => i64::try_from(int).ok(),
            _ => None,
        }
    }

    /// A float, or an integer rounded to one; `None` where it is too large.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(float) => Some(*float),
            Self::Int(int) => crate::float::from_int(int),
            _ => None,
        }
    }

    /// The members of a tuple, list or set.
    pub fn as_items(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(items) | Self::List(items) | Self::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a dictionary, in insertion order.
    pub fn as_dict(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value under a string key of a dictionary; `None` for every other type.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let pairs = self.as_dict()?;
        let found = pairs.iter().find(|(k, _)| k.as_str() == Some(key));
        found.map(|(_, value)| value)
    }

    /// What Python's `bool()` says.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(truth) => *truth,
            Self::Int(int) => *int != BigInt::ZERO,
            Self::Float(float) => *float != 0.0,
            Self::Complex { real, imag } => *real != 0.0 || *imag != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::Tuple(items) | Self::List(items) | Self::Set(items) => !items.is_empty(),
            Self::Dict(pairs) => !pairs.is_empty(),
        }
    }

    /// Python's name of the type: `int`, `NoneType`, ...
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Complex { .. } => "complex",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::Tuple(_) => "tuple",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::Dict(_) => "dict",
        }
    }

    /// Bytes and members held, all levels together: what an operation that copies it costs.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Str(text) => text.len() + 1,
            Self::Bytes(bytes) => bytes.len() + 1,
            Self::Int(int) => usize::try_from(int.bits() / 8).unwrap_or(usize::MAX) + 1,
            Self::Tuple(items) | Self::List(items) | Self::Set(items) => {
                items.iter().map(Self::weight).sum::<usize>() + 1
            }
            Self::Dict(pairs) => {
                let pair_weight = |(key, value): &(Self, Self)| key.weight() + value.weight();
                pairs.iter().map(pair_weight).sum::<usize>() + 1
            }
            _ => 1,
        }
    }
}

macro_rules! from {
    ($($source:ty => |$name:ident| $value:expr),+ $(,)?) => {$(
        impl From<$source> for Value {
            fn from($name: $source) -> Self {
                $value
            }
        }
    )+};
}

from! {
    bool => |truth| Self::Bool(truth),
    i32 => |int| Self::Int(int.into()),
    i64 => |int| Self::Int(int.into()),
    u16 => |int| Self::Int(int.into()),
    u32 => |int| Self::Int(int.into()),
    u64 => |int| Self::Int(int.into()),
    usize => |int| Self::Int(int.into()),
    BigInt => |int| Self::Int(int),
    f64 => |float| Self::Float(float),
    &str => |text| Self::Str(text.to_owned()),
    String => |text| Self::Str(text),
    Vec<u8> => |bytes| Self::Bytes(bytes),
    Vec<Value> => |items| Self::List(items),
    Vec<(Value, Value)> => |pairs| Self::dict(pairs),
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
