//! Files of a deployment.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::DeployError;

/// Reads a text file.
pub(crate) fn read(file: &Path) -> Result<String, DeployError> {
    fs::read_to_string(file).map_err(|source| DeployError::file(file, source))
}

/// Writes a text file, in a directory that is made if it is not there.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), DeployError> {
    make_parent(file)
        .and_then(|()| fs::write(file, text))
        .map_err(|source| DeployError::file(file, source))
}

/// Writes a new text file that nobody else can read.
pub(crate) fn write_private(file: &Path, text: &str) -> Result<(), DeployError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    make_parent(file)
        .and_then(|()| options.open(file)?.write_all(text.as_bytes()))
        .map_err(|source| DeployError::file(file, source))
}

/// Makes a directory that has to be empty, if it is there already.
pub(crate) fn make_empty(dir: &Path) -> Result<(), DeployError> {
    let failed = |source| DeployError::file(dir, source);
    fs::create_dir_all(dir).map_err(failed)?;
    match fs::read_dir(dir).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(DeployError::NotEmpty(dir.to_owned())),
    }
}

/// Sets fields of a commented TOML file, each the only one of its name in the file; everything
/// else stays as it is.
pub(crate) fn set_fields(file: &Path, fields: &[(&str, String)]) -> Result<(), DeployError> {
    let text = fields
        .iter()
        .try_fold(read(file)?, |text, (field, value)| {
            set_field(&text, field, value).ok_or_else(|| DeployError::Field {
                file: file.to_owned(),
                field: (*field).to_owned(),
            })
        })?;
    write(file, &text)
}

/// A TOML string.
pub(crate) fn quoted(text: &impl ToString) -> String {
    toml::Value::String(text.to_string()).to_string()
}

/// `None` unless exactly one line sets the field.
fn set_field(text: &str, field: &str, value: &str) -> Option<String> {
    let sets = |line: &&str| {
        let rest = line.strip_prefix(field);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut setting = text.lines().filter(sets);
    let (line, None) = (setting.next()?, setting.next()) else {
        return None;
    };
    let (before, after) = text.split_once(&format!("{line}\n"))?;
    Some(format!("{before}{field} = {value}\n{after}"))
}

fn make_parent(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_set_where_it_is_and_only_there() {
        let text = "# listen = here\nlisten = \"a\"\nlisten_too = 1\n";
        let set = set_field(text, "listen", "2").expect("one such field");
        assert_eq!(set, "# listen = here\nlisten = 2\nlisten_too = 1\n");
        assert_eq!(set_field(text, "absent", "2"), None);
        assert_eq!(set_field("a = 1\na = 2\n", "a", "3"), None);
    }

    #[test]
    fn strings_are_quoted_for_toml() {
        assert_eq!(quoted(&"a \"b\""), r#"'a "b"'"#);
    }
}
