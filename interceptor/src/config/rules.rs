//! The `[rules]` table: what is looked for besides the built-in rules, and which of those are not.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::mask::DictionaryHead;

/// The `[rules]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Rule files.
    pub files: Vec<PathBuf>,
    /// Files of literals.
    pub dictionaries: Vec<DictionaryFile>,
    /// Built-in rules that are left out.
    pub disable: Vec<String>,
    /// How much of the set's throughput a rule of a file may cost, in per cent.
    pub max_cost: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { files: Vec::new(), dictionaries: Vec::new(), disable: Vec::new(), max_cost: 10 }
    }
}

impl Rules {
    /// Whether there are the built-in rules and nothing else.
    #[must_use]
    pub fn are_builtin(&self) -> bool {
        self.files.is_empty() && self.dictionaries.is_empty() && self.disable.is_empty()
    }
}

/// A dictionary: the file's name, or a table of that and what wins over the file's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryFile {
    /// Where it is.
    pub file: PathBuf,
    /// What is said of it here.
    pub head: DictionaryHead,
}

impl From<PathBuf> for DictionaryFile {
    fn from(file: PathBuf) -> Self {
        Self { file, head: DictionaryHead::default() }
    }
}

impl<'de> Deserialize<'de> for DictionaryFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileOrTable;

        impl<'de> Visitor<'de> for FileOrTable {
            type Value = DictionaryFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a file, or a table with `file`")
            }

            fn visit_str<E: Error>(self, file: &str) -> Result<Self::Value, E> {
                Ok(PathBuf::from(file).into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let mut table = toml::Table::deserialize(MapAccessDeserializer::new(map))?;
                let Some(toml::Value::String(file)) = table.remove("file") else {
                    return Err(A::Error::custom("a dictionary needs `file`, its name in quotes"));
                };
                let head = DictionaryHead::deserialize(table).map_err(|error| A::Error::custom(error.message()))?;
                Ok(DictionaryFile { file: file.into(), head })
            }
        }

        deserializer.deserialize_any(FileOrTable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_are_files_or_tables() {
        let rules: Rules = toml::from_str(
            "dictionaries = [\"a.txt\", { file = \"b.txt\", entity = \"CUSTOMER\", case = \"match\" }]\nmax_cost = 5",
        )
        .unwrap();
        assert_eq!(rules.dictionaries[0], PathBuf::from("a.txt").into());
        assert_eq!(rules.dictionaries[1].file, PathBuf::from("b.txt"));
        assert_eq!(rules.dictionaries[1].head.entity.as_deref(), Some("CUSTOMER"));
        assert!(!rules.are_builtin() && Rules::default().are_builtin());
        for (wrong, expected) in [
            ("dictionaries = [3]", "the name of a file, or a table"),
            ("dictionaries = [{}]", "a dictionary needs `file`"),
            ("\ndictionaries = [{ file = \"a\", entty = \"X\" }]", "unknown field `entty`"),
            ("file = []", "unknown field `file`"),
        ] {
            let told = toml::from_str::<Rules>(wrong).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
    }
}
