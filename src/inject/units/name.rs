//! Names of units: systemd.unit(5).

use std::fmt;

const TYPES: [&str; 11] =
    ["service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"];

/// A name of a unit, with its type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(String);

impl UnitName {
    /// The name; `None` for what none can be called.
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, kind) = text.rsplit_once('.')?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\@-".contains(&byte);
        let is_name = !stem.is_empty() && !stem.starts_with('@') && stem.bytes().all(is_plain);
        (is_name && TYPES.contains(&kind) && text.len() <= 255).then(|| Self(text.to_owned()))
    }

    /// The same, and a service where no type is named, as systemctl(1) has it.
    pub fn of_typed(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| Self::parse(&format!("{text}.service")))
    }

    pub(in crate::inject) fn as_str(&self) -> &str {
        &self.0
    }

    /// The instance that it is, empty where it is none.
    pub(in crate::inject) fn instance(&self) -> &str {
        self.parts().1.unwrap_or_default()
    }

    /// Before the type, the instance between, and the type; the instance of a template is empty.
    fn parts(&self) -> (&str, Option<&str>, &str) {
        let (stem, kind) = self.0.rsplit_once('.').unwrap_or((&self.0, ""));
        match stem.split_once('@') {
            Some((prefix, instance)) => (prefix, Some(instance), kind),
            None => (stem, None, kind),
        }
    }

    /// Whether the other can be one more name of it: of the same type, and of templates and instances alone where it is one.
    pub(super) fn can_be_called(&self, other: &Self) -> bool {
        let ((_, one, kind), (_, other, other_kind)) = (self.parts(), other.parts());
        kind == other_kind && one.is_some() == other.is_some()
    }

    /// The template of an instance.
    pub(in crate::inject) fn template(&self) -> Option<Self> {
        match self.parts() {
            (prefix, Some(instance), kind) if !instance.is_empty() => Some(Self(format!("{prefix}@.{kind}"))),
            _ => None,
        }
    }

    /// This one, or the default instance where it is a template; `None` where that has none.
    pub(super) fn with_default(&self, default: Option<&str>) -> Option<Self> {
        match self.parts() {
            (prefix, Some(""), kind) => {
                Self::parse(&format!("{prefix}@{}.{kind}", default.filter(|name| !name.is_empty())?))
            }
            _ => Some(self.clone()),
        }
    }

    /// This one, or where it is a template its instance of the other's name.
    pub(super) fn instance_like(&self, other: &Self) -> Self {
        let (_, instance, _) = other.parts();
        self.with_default(instance).unwrap_or_else(|| self.clone())
    }

    /// A text with the specifiers that `[Install]` may have (systemd.unit(5)); `None` for any other.
    pub(super) fn expand(&self, text: &str) -> Option<String> {
        let (prefix, instance, _) = self.parts();
        let mut expanded = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                expanded.push(char);
                continue;
            }
            match chars.next()? {
                '%' => expanded.push('%'),
                'i' => expanded.push_str(instance.unwrap_or_default()),
                'j' => expanded.push_str(prefix.rsplit('-').next().unwrap_or_default()),
                'n' => expanded.push_str(&self.0),
                'N' => expanded.push_str(self.0.rsplit_once('.').map_or("", |(stem, _)| stem)),
                'p' => expanded.push_str(prefix),
                _ => return None,
            }
        }
        Some(expanded)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
