//! Finds the value of a setting among its spellings: flag, then environment, then file, then default.
//!
//! Every spelling that is present must be sound, the overruled ones too: a broken value is never passed over in
//! silence.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::document::Document;
use super::given::Given;
use super::nearest::nearest;
use super::problem::{Problem, Problems, Spelling};
use super::sources::{LongFile, Sources, read_file};
use super::table::{
    OTHER_VARIABLES, Pairs, SETTINGS, Setting, is_about_callback, is_unsupported_variable,
};
use super::tls::Findings;
use super::value::{self, Raw};

/// Reads settings and collects what is wrong.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    document: Document,
    origins: BTreeMap<&'static str, Spelling>,
    given: Given,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Opens the settings file, if one is named.
    pub(super) fn new(sources: &'a Sources) -> Self {
        let mut reader = Self::forgiving(sources);
        reader.problems.append(&mut reader.document.strangers);
        reader
    }

    /// The same for a process whose successor may know more settings.
    pub(super) fn forgiving(sources: &'a Sources) -> Self {
        let mut reader = Self {
            sources,
            document: Document::default(),
            origins: BTreeMap::new(),
            given: Given::default(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some((spelling, path)) = reader.config_path() {
            reader.open(spelling, &path);
        }
        reader
    }

    fn config_path(&mut self) -> Option<(Spelling, String)> {
        let (spelling, path) = match self.sources.flags.get("config") {
            Some(path) => (Spelling::Flag("config".to_owned()), Ok(Raw::Text(path.clone()))),
            None => self.variable("COPPICE_CONFIG")?,
        };
        match path.and_then(checked).and_then(|raw| raw.text().map(str::to_owned)) {
            Ok(path) => Some((spelling, path)),
            Err(message) => {
                self.problem(spelling, message);
                None
            }
        }
    }

    fn open(&mut self, spelling: Spelling, path: &str) {
        let name: Arc<str> = path.into();
        match read_file(Path::new(path)) {
            Ok(file) => {
                self.document = Document::parse(&name, &file.text, &mut self.problems);
                let mut secrets = SETTINGS.iter().filter(|setting| setting.is_secret());
                if file.is_public && secrets.any(|setting| self.document.get(setting.key).is_some())
                {
                    self.warn(format!("{path}: holds secrets and every user can read it"));
                }
            }
            Err(message) => self.problem(spelling, format!("'{path}' {message}")),
        }
    }

    /// The value of a setting that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        let mut chosen = None;
        for (rank, (spelling, raw)) in self.spellings(setting).into_iter().enumerate() {
            let raw = raw.and_then(checked);
            if let (0, Ok(raw)) = (rank, &raw) {
                self.given.note(setting, raw);
            }
            match raw.and_then(|raw| parse(&raw)) {
                Ok(value) if rank == 0 => {
                    self.origins.insert(setting.key, spelling);
                    chosen = Some(value);
                }
                Ok(_) => {}
                Err(message) => self.problem(spelling, message),
            }
        }
        chosen
    }

    /// The value of a setting that has a default.
    #[expect(clippy::expect_used, reason = "defaults are constants, and a test reads them all")]
    pub(super) fn value<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&Raw) -> Result<T, String>,
    ) -> T {
        self.optional(setting, &parse).unwrap_or_else(|| {
            let default = Raw::Text(setting.default.unwrap_or_default().to_owned());
            parse(&default).expect("a sound default")
        })
    }

    /// The value of a setting that must be present.
    pub(super) fn required<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        if self.given(setting).is_none() {
            let flag = setting.flag.map(|flag| format!("--{flag}, ")).unwrap_or_default();
            let message = format!("is required; set {flag}{} or this key of the file", setting.env);
            self.problem(Spelling::Key(setting.key), message);
        }
        self.optional(setting, parse)
    }

    /// A list that is empty when absent.
    pub(super) fn list<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.optional(setting, |raw| raw.list(&parse)).unwrap_or_default()
    }

    /// The file whose path a setting holds, to be read in pieces. No problem quotes the path: it may be a secret, put
    /// where the path belongs.
    pub(super) fn long_file(&mut self, setting: &'static Setting) -> Option<LongFile> {
        let path = self.optional(setting, value::path)?;
        match LongFile::open(&path) {
            Ok(file) => Some(file),
            Err(why) => {
                self.problem(self.origin(setting), format!("the file {why}"));
                None
            }
        }
    }

    /// The two values of each table of a kind, with their spellings. None for a table in which one is not sound.
    pub(super) fn pairs<T>(
        &mut self,
        pairs: &'static Pairs,
        parse: impl Fn(&Raw) -> Result<T, String>,
    ) -> Vec<Option<[(Spelling, T); 2]>> {
        let tables: Vec<_> = self.document.pairs(pairs).cloned().collect();
        let mut read = |(spelling, raw): (Spelling, Result<Raw, String>)| match raw
            .and_then(checked)
            .and_then(|raw| parse(&raw))
        {
            Ok(value) => Some((spelling, value)),
            Err(message) => {
                self.problem(spelling, message);
                None
            }
        };
        let tables = tables.into_iter().map(|[one, other]| {
            // Both, so that both problems are told.
            let (one, other) = (read(one), read(other));
            Some([one?, other?])
        });
        tables.collect()
    }

    /// In which spelling a setting is present, sound or not; the one that counts.
    pub(super) fn given(&self, setting: &Setting) -> Option<Spelling> {
        let form = setting.file_form();
        let found = setting
            .flag
            .and_then(|flag| self.flag(flag))
            .or_else(|| self.flag(form?.flag))
            .or_else(|| self.variable(setting.env))
            .or_else(|| self.variable(form?.env))
            .or_else(|| self.document.get(setting.key).cloned())
            .or_else(|| self.document.get(form?.key).cloned());
        found.map(|(spelling, _)| spelling)
    }

    /// How a setting was given; its key when it was not.
    pub(super) fn origin(&self, setting: &'static Setting) -> Spelling {
        self.origins.get(setting.key).cloned().unwrap_or(Spelling::Key(setting.key))
    }

    /// The spellings in which a setting is present, the one that counts first.
    fn spellings(&mut self, setting: &Setting) -> Vec<(Spelling, Result<Raw, String>)> {
        let flag = setting.flag.and_then(|flag| self.flag(flag));
        let form = setting.file_form();
        let file_flag = form.and_then(|form| self.flag(form.flag));
        let mut variable = self.variable(setting.env);
        let file_variable = form.and_then(|form| self.variable(form.env));
        if variable.is_none() && setting.env == "COPPICE_LOG" {
            // Not ours alone, so that an empty one means what it means to everybody else: nothing.
            variable = self
                .variable("RUST_LOG")
                .filter(|(_, raw)| raw.as_ref().is_ok_and(|raw| !raw.is_empty()));
        }
        let entry = self.document.get(setting.key).cloned();
        let file_entry = form.and_then(|form| self.document.get(form.key).cloned());
        if let (Some((spelling, _)), Some(form), true) = (&flag, form, setting.is_secret()) {
            let message =
                format!("{spelling}: shows in the list of processes; use --{} instead", form.flag);
            self.warn(message);
        }
        [(flag, file_flag), (variable, file_variable), (entry, file_entry)]
            .into_iter()
            .filter_map(|(inline, file)| match (inline, file) {
                (Some((spelling, _)), Some((file, _))) => {
                    Some((spelling, Err(format!("excludes {file}; give one of them"))))
                }
                (Some(inline), None) => Some(inline),
                (None, Some((spelling, path))) => {
                    let text = path.and_then(checked).and_then(|path| self.secret(path.text()?));
                    Some((spelling, text))
                }
                (None, None) => None,
            })
            .collect()
    }

    fn flag(&self, name: &str) -> Option<(Spelling, Result<Raw, String>)> {
        let value = self.sources.flags.get(name)?;
        Some((Spelling::Flag(name.to_owned()), Ok(Raw::Text(value.clone()))))
    }

    fn variable(&self, name: &str) -> Option<(Spelling, Result<Raw, String>)> {
        let value = self.sources.environment.get(name)?.to_str();
        let raw =
            value.map(|text| Raw::Text(text.to_owned())).ok_or("is not UTF-8 text".to_owned());
        Some((Spelling::Variable(name.to_owned()), raw))
    }

    /// The text of a variable that is no setting of ours; an empty one counts as absent.
    pub(super) fn text_of(&self, name: &str) -> Option<Result<String, String>> {
        let text = match self.variable(name)?.1 {
            Ok(raw) => raw.text().map(str::to_owned),
            Err(message) => Err(message),
        };
        Some(text).filter(|text| !text.as_ref().is_ok_and(|text| text.trim().is_empty()))
    }

    /// The text of a secret's file, less one newline at its end. No problem quotes the path: it may be the secret, put
    /// where the path belongs.
    fn secret(&mut self, path: &str) -> Result<Raw, String> {
        let file = read_file(Path::new(path)).map_err(|why| format!("the file {why}"))?;
        if file.is_public {
            self.warn(format!("{path}: holds a secret and every user can read it"));
        }
        let text = file.text.strip_suffix('\n').unwrap_or(&file.text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() {
            return Err("the file is empty".to_owned());
        }
        Ok(Raw::Text(text.to_owned()))
    }

    /// Looks for variables that this version does not know.
    pub(super) fn check_variables(&mut self) {
        let known = || {
            let files = SETTINGS.iter().filter_map(|setting| Some(setting.file_form()?.env));
            SETTINGS.iter().map(|setting| setting.env).chain(files).chain(OTHER_VARIABLES)
        };
        for name in self.sources.environment.keys() {
            if is_unsupported_variable(name) {
                let spelling = Spelling::Variable(name.clone());
                let message = "is not supported by this version".to_owned();
                self.problems.push(Problem::Setting(spelling, message));
                continue;
            }
            let is_ours = name.starts_with("COPPICE_") || is_about_callback(name);
            if !is_ours || known().any(|known| known == name) {
                continue;
            }
            let hint = nearest(name, known()).map(|near| format!("; did you mean {near}?"));
            let hint = hint.unwrap_or_default();
            if is_about_callback(name) {
                let spelling = Spelling::Variable(name.clone());
                self.problems.push(Problem::Setting(spelling, format!("no such setting{hint}")));
            } else {
                self.warnings.push(format!("{name}: no such setting, ignored{hint}"));
            }
        }
    }

    /// Which settings were given which values, as far as they were read.
    pub(super) fn given_values(&self) -> Given {
        self.given.clone()
    }

    /// Adds a problem.
    pub(super) fn problem(&mut self, spelling: Spelling, message: String) {
        self.problems.push(Problem::Setting(spelling, message));
    }

    /// Adds problems of key lists.
    pub(super) fn key_problems(&mut self, problems: Vec<crate::keys::KeyProblem>) {
        self.problems.extend(problems.into_iter().map(Problem::Key));
    }

    /// Adds what was found in the files of TLS.
    pub(super) fn take_in(&mut self, findings: Findings) {
        self.problems.extend(findings.problems);
        self.warnings.extend(findings.warnings);
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, message: String) {
        self.warnings.push(message);
    }

    /// What was read, and the warnings, unless there was a problem. Whoever has no value has added a problem.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<String>), Problems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok((value, self.warnings)),
            Some(_) | None => Err(Problems::sorted(self.problems)),
        }
    }
}

fn checked(raw: Raw) -> Result<Raw, String> {
    if raw.is_empty() { Err("is empty; remove it or give it a value".to_owned()) } else { Ok(raw) }
}
