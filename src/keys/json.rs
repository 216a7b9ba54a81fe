//! The JSON form of a keys file: an array of objects with a closed list of fields.
//!
//! Fields are read one by one instead of through a derived deserializer, whose errors stop at the first problem and
//! quote the value they trip over, which may be a key. Positions come from where the borrowed pieces stand in the text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::draft::{KeyDraft, Spot};
use super::rows::{Said, number};
use super::{KeyDigest, KeyFault, parse_key, parse_scopes};
use crate::clock::UnixTime;
use crate::principal::TenantId;

const FIELDS: [&str; 7] =
    ["tenantID", "name", "key", "keyHash", "scopes", "notBefore", "expiresAt"];

/// Reads a file.
pub(super) fn parse(draft: &mut KeyDraft, source: &str, text: &str) {
    let list = draft.begin(source);
    let whole = |position| Spot { list, position, entry: 0 };
    // Syntax first: what a parser says about syntax is constant, what it says about data quotes the data.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or_default().to_owned();
        let position = (number(error.line()), number(error.column()));
        return draft.fault(whole(position), None, KeyFault::Syntax(words));
    }
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) else {
        return draft.fault(whole((0, 0)), None, KeyFault::NotAnArray);
    };
    if elements.is_empty() {
        return draft.fault(whole((0, 0)), None, KeyFault::NoEntries);
    }
    let mut position = Position::default();
    for (index, element) in elements.into_iter().enumerate() {
        position.advance(text, element.get());
        let position = (number(position.line), number(position.column));
        read_entry(draft, element.get(), Spot { list, position, entry: number(index + 1) });
    }
}

/// Where a piece of a text stands; moves forwards only, so that a whole file costs one pass.
struct Position {
    offset: usize,
    line: usize,
    column: usize,
}

impl Default for Position {
    fn default() -> Self {
        Self { offset: 0, line: 1, column: 1 }
    }
}

impl Position {
    fn advance(&mut self, text: &str, piece: &str) {
        let target = piece.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        for c in text.get(self.offset..target).unwrap_or_default().chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.offset = target.max(self.offset);
    }
}

/// The members of an object in order, repetitions included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(FIELDS.len());
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn read_entry(draft: &mut KeyDraft, text: &str, spot: Spot) {
    let mut fields = Fields::default();
    match serde_json::from_str::<Members<'_>>(text) {
        Ok(Members(members)) => {
            for (name, value) in members {
                fields.read(&name, value.get());
            }
            fields.check();
        }
        Err(_) => fields.faults.push(KeyFault::NotAnObject),
    }
    if fields.faults.is_empty() {
        fields.faults.extend(fields.add(draft, spot));
    }
    for fault in fields.faults {
        draft.fault(spot, fields.tenant.clone(), fault);
    }
}

#[derive(Default)]
struct Fields {
    seen: Vec<&'static str>,
    tenant: Option<TenantId>,
    name: Option<String>,
    digest: Option<KeyDigest>,
    scopes: Option<crate::principal::Scopes>,
    not_before: Option<UnixTime>,
    expires: Option<UnixTime>,
    faults: Vec<KeyFault>,
}

impl Fields {
    fn read(&mut self, name: &str, value: &str) {
        let Some(field) = FIELDS.into_iter().find(|field| *field == name) else {
            self.faults.push(KeyFault::UnknownField);
            return;
        };
        if self.seen.contains(&field) {
            self.faults.push(KeyFault::RepeatedField(field));
            return;
        }
        self.seen.push(field);
        if let Err(fault) = self.read_known(field, value) {
            self.faults.push(fault);
        }
    }

    fn read_known(&mut self, field: &'static str, value: &str) -> Result<(), KeyFault> {
        match field {
            "tenantID" => {
                self.tenant =
                    Some(TenantId::parse(&string(field, value)?).map_err(KeyFault::Tenant)?);
            }
            "name" => self.name = Some(parse_name(&string(field, value)?)?),
            "key" => self.digest = Some(parse_key(&string(field, value)?)?),
            "keyHash" => {
                let text = string(field, value)?;
                let hex = text.strip_prefix("sha256:").unwrap_or(&text);
                self.digest = Some(KeyDigest::parse_hex(hex).map_err(KeyFault::Digest)?);
            }
            "scopes" => {
                let names: Vec<String> = serde_json::from_str(value)
                    .map_err(|_| KeyFault::WrongType(field, "an array of strings"))?;
                self.scopes = Some(parse_scopes(names.iter().map(String::as_str))?);
            }
            "notBefore" => self.not_before = Some(parse_date(field, value)?),
            _ => self.expires = Some(parse_date(field, value)?),
        }
        Ok(())
    }

    /// Looks at what no field says alone.
    fn check(&mut self) {
        for field in ["tenantID", "scopes"] {
            if !self.seen.contains(&field) {
                self.faults.push(KeyFault::AbsentField(field));
            }
        }
        match (self.seen.contains(&"key"), self.seen.contains(&"keyHash")) {
            (true, true) => self.faults.push(KeyFault::TwoKeys),
            (false, false) => self.faults.push(KeyFault::AbsentField("key")),
            (true, false) | (false, true) => {}
        }
        if self.not_before.zip(self.expires).is_some_and(|(from, until)| until <= from) {
            self.faults.push(KeyFault::NeverValid);
        }
    }

    /// Adds the entry, which is there as a whole when nothing was wrong with its fields.
    fn add(&self, draft: &mut KeyDraft, spot: Spot) -> Option<KeyFault> {
        let (tenant, digest, scopes) = (self.tenant.as_ref()?, self.digest?, self.scopes?);
        let said = Said {
            name: self.name.as_deref(),
            scopes,
            not_before: self.not_before,
            expires: self.expires,
        };
        match draft.shared.intern(tenant.as_str()) {
            Ok(tenant) => draft.add(spot, tenant, digest, said),
            Err(bad) => return Some(KeyFault::Tenant(bad)),
        }
        None
    }
}

fn string(field: &'static str, value: &str) -> Result<Zeroizing<String>, KeyFault> {
    serde_json::from_str(value)
        .map(Zeroizing::new)
        .map_err(|_| KeyFault::WrongType(field, "a string"))
}

fn parse_date(field: &'static str, value: &str) -> Result<UnixTime, KeyFault> {
    string(field, value)?.parse().map_err(|bad| KeyFault::Date(field, bad))
}

fn parse_name(text: &str) -> Result<String, KeyFault> {
    let sound = !text.trim().is_empty()
        && text.chars().count() <= 128
        && !text.chars().any(char::is_control);
    if sound { Ok(text.to_owned()) } else { Err(KeyFault::Name) }
}
