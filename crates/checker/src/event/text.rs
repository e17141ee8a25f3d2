//! RFC 3339 in UTC with microseconds, always six digits, so that lines sort as text.

/// An instant.
pub(crate) mod instant {
    use muster_model::Instant;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub(crate) fn serialize<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{at:.6}"))
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is no RFC 3339 time with an offset.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
        Instant::deserialize(deserializer)
    }
}

/// An instant that may be absent.
pub(crate) mod optional_instant {
    use muster_model::Instant;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub(crate) fn serialize<S: Serializer>(at: &Option<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::instant::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is no RFC 3339 time with an offset.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Instant>, D::Error> {
        Option::<Instant>::deserialize(deserializer)
    }
}

/// An activity's name, as `<machine>-<n>`.
pub(crate) mod activity_name {
    use muster_model::ActivityName;
    use serde::{Deserialize, Deserializer, Serializer, de};
    use smol_str::SmolStr;

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub(crate) fn serialize<S: Serializer>(name: &ActivityName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(name)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is no activity's name.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ActivityName, D::Error> {
        ActivityName::parse(&SmolStr::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// An activity's name that may be absent.
pub(crate) mod optional_activity_name {
    use muster_model::ActivityName;
    use serde::{Deserialize, Deserializer, Serializer, de};
    use smol_str::SmolStr;

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub(crate) fn serialize<S: Serializer>(
        name: &Option<ActivityName>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match name {
            Some(name) => super::activity_name::serialize(name, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is no activity's name.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ActivityName>, D::Error> {
        let text = Option::<SmolStr>::deserialize(deserializer)?;
        text.map(|text| ActivityName::parse(&text).map_err(de::Error::custom)).transpose()
    }
}
