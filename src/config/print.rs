//! The configuration as a commented file that can be read back, each value that is set with where it came from.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::load::Loaded;
use super::settings::{SECTIONS, Setting};
use super::{Config, Source};

impl Loaded {
    /// Writes the whole configuration as TOML: documentation above, provenance behind each value that is set.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# Configuration of tiltyard. A value here is overridden by its TILTYARD_ variable, that by a flag.\n",
        );
        let in_section =
            |name: &'static str| self.settings().filter(move |(setting, _)| setting.section == name);
        for (setting, source) in in_section("") {
            self.write_setting(&mut text, setting, source);
        }
        for (section, docs) in SECTIONS {
            text.push('\n');
            write_docs(&mut text, docs);
            writeln!(text, "[{section}]").expect("writing to a String");
            for (setting, source) in in_section(section) {
                self.write_setting(&mut text, setting, source);
            }
        }
        text
    }

    fn write_setting(&self, text: &mut String, setting: &Setting, source: &Source) {
        text.push('\n');
        write_docs(text, setting.docs);
        let default = (setting.show)(&Config::default());
        let bounds = match setting.bounds {
            Some((low, high)) => format!(", {low} to {high}"),
            None => String::new(),
        };
        let value = (setting.show)(&self.config);
        writeln!(text, "# default: {default}{bounds}; variable: {}", setting.variable())
            .expect("writing to a String");
        // In a file that is edited later, a line that called itself the default would soon be wrong.
        let from = match source {
            Source::Default => String::new(),
            source => format!(" # from: {source}"),
        };
        writeln!(text, "{} = {value}{from}", setting.name).expect("writing to a String");
    }

    /// The same for a script: key → `value`, `source`, `default`.
    pub fn to_json(&self) -> Json {
        let defaults = Config::default();
        let settings = self.settings().map(|(setting, source)| {
            let value = to_json(&(setting.show)(&self.config));
            let default = to_json(&(setting.show)(&defaults));
            (
                setting.key.to_owned(),
                json!({ "value": value, "source": source.to_string(), "default": default }),
            )
        });
        Json::Object(settings.collect::<Map<_, _>>())
    }
}

fn write_docs(text: &mut String, docs: &[&str]) {
    for line in docs {
        writeln!(text, "# {}", line.trim()).expect("writing to a String");
    }
}

fn to_json(value: &toml_edit::Value) -> Json {
    match value {
        toml_edit::Value::Integer(number) => json!(number.value()),
        toml_edit::Value::Boolean(truth) => json!(truth.value()),
        toml_edit::Value::Float(number) => json!(number.value()),
        toml_edit::Value::String(text) => json!(text.value()),
        toml_edit::Value::Array(items) => items.iter().map(to_json).collect(),
        other => json!(other.to_string()),
    }
}
