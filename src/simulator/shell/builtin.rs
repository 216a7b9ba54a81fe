//! The commands the toy shell knows.

use std::time::Duration;

use bytes::Bytes;

use super::super::files::{Content, Trouble};
use super::{Input, Shell, Sink};

const NAMES: &str = "bash cat cd echo env exit export false head ls mkdir printenv printf pwd rm seq sh sleep stty touch true \
                     uname wc whoami";
const NOT_FOUND: i32 = 127;
const CHUNK: usize = 64 * 1024;

/// A complaint for stderr, and the exit code to go with it.
struct Failure(String, i32);

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.to_string(), 1)
    }
}

fn wrong(message: &str) -> Failure {
    Failure(message.to_owned(), 2)
}

type Done = Result<i32, Failure>;

impl Shell {
    /// Runs a command; its exit code.
    pub(super) async fn builtin(&mut self, name: &str, args: &[&str], sink: &Sink) -> i32 {
        let base = name.rsplit_once('/').map_or(name, |(_, base)| base);
        match self.dispatch(base, args, sink).await {
            Ok(code) => code,
            Err(Failure(message, code)) => {
                sink.complain(&format!("{base}: {message}")).await;
                code
            }
        }
    }

    async fn dispatch(&mut self, name: &str, args: &[&str], sink: &Sink) -> Done {
        match name {
            "true" | ":" => {}
            "false" => return Ok(1),
            "echo" => sink.out.write(echo(args).as_bytes()).await,
            "printf" => sink.out.write(printf(args)?.as_bytes()).await,
            "cat" => self.cat(args, sink).await?,
            "head" => self.head(args, sink).await?,
            "wc" => self.wc(args, sink).await?,
            "seq" => sink.out.write(seq(args)?.as_bytes()).await,
            "sleep" => tokio::time::sleep(seconds(args)?).await,
            "exit" => {
                self.exited = true;
                let code = args.first().map_or(Ok(self.status), |code| code.parse());
                return code.map_err(|_| wrong("numeric argument required"));
            }
            "env" => self.environment(sink).await,
            "printenv" => return self.printenv(args, sink).await,
            "export" => self.export(args),
            "cd" => self.change_directory(args)?,
            "pwd" => sink.out.write(format!("{}\n", self.cwd).as_bytes()).await,
            "whoami" => sink.out.write(format!("{}\n", self.user).as_bytes()).await,
            "uname" => sink.out.write(uname(args).as_bytes()).await,
            "ls" => self.list(args, sink).await?,
            "mkdir" => self.each_path(args, |shell, path| {
                match shell.sandbox.files.make_directory(path, &shell.user) {
                    Err(Trouble::Exists(_)) if args.contains(&"-p") => Ok(()),
                    other => other.map(|_| ()),
                }
            })?,
            "touch" => self.each_path(args, |shell, path| {
                let content =
                    shell.sandbox.files.read(path).unwrap_or(Content::Whole(Bytes::new()));
                shell
                    .sandbox
                    .files
                    .write(path, content, &shell.user, Default::default())
                    .map(|_| ())
            })?,
            "rm" => self.each_path(args, |shell, path| shell.sandbox.files.remove(path))?,
            "stty" => {
                let variable = |name: &str| self.variables.get(name).cloned();
                let (Some(rows), Some(cols)) = (variable("LINES"), variable("COLUMNS")) else {
                    return Err(Failure("not a terminal".to_owned(), 1));
                };
                sink.out.write(format!("{rows} {cols}\n").as_bytes()).await;
            }
            "bash" | "sh" => {
                let text = args.iter().skip_while(|arg| !arg.ends_with('c')).nth(1);
                let text = text.ok_or_else(|| wrong("the simulator runs only bash -c COMMAND"))?;
                let code = Box::pin(self.run(text, sink)).await;
                self.exited = false;
                return Ok(code);
            }
            name => {
                let message = format!(
                    "bash: {name}: command not found (this is a simulator; it knows: {NAMES})"
                );
                sink.complain(&message).await;
                return Ok(NOT_FOUND);
            }
        }
        Ok(0)
    }

    /// The next bytes of stdin, or `None` at its end.
    async fn read(&mut self) -> Option<Bytes> {
        match &mut self.input {
            Input::Stream(stream) => stream.recv().await,
            Input::Buffer(buffer) if buffer.is_empty() => None,
            Input::Buffer(buffer) => Some(std::mem::take(buffer).into()),
        }
    }

    fn file(&self, path: &str) -> Result<Bytes, Failure> {
        let path = self.path(path);
        match self.sandbox.files.read(&path)? {
            Content::Whole(bytes) => Ok(bytes),
            Content::Length(_) => Err(Trouble::NotKept(path).into()),
        }
    }

    async fn cat(&mut self, args: &[&str], sink: &Sink) -> Result<(), Failure> {
        if args.is_empty() || args == ["-"] {
            while let Some(bytes) = self.read().await {
                sink.out.write(&bytes).await;
            }
        }
        for path in args.iter().filter(|path| **path != "-") {
            sink.out.write(&self.file(path)?).await;
        }
        Ok(())
    }

    /// All of stdin, or of the named file.
    async fn all_of(&mut self, path: Option<&&str>) -> Result<Bytes, Failure> {
        if let Some(path) = path {
            return self.file(path);
        }
        let mut all = Vec::new();
        while let Some(bytes) = self.read().await {
            all.extend_from_slice(&bytes);
        }
        Ok(all.into())
    }

    async fn head(&mut self, args: &[&str], sink: &Sink) -> Result<(), Failure> {
        let (unit, count, path) = match args {
            ["-c", count, rest @ ..] => ('c', *count, rest.first()),
            ["-n", count, rest @ ..] => ('n', *count, rest.first()),
            rest => ('n', "10", rest.first()),
        };
        let mut count: usize = count.parse().map_err(|_| wrong("invalid number"))?;
        if path == Some(&"/dev/zero") {
            if unit != 'c' {
                return Err(wrong("/dev/zero has no lines"));
            }
            let zeros = vec![0; CHUNK];
            while count > 0 {
                let size = count.min(CHUNK);
                sink.out.write(zeros.get(..size).unwrap_or_default()).await;
                count -= size;
            }
            return Ok(());
        }
        let all = self.all_of(path).await?;
        if unit == 'c' {
            sink.out.write(all.get(..count).unwrap_or(&all)).await;
        } else {
            let lines = all.split_inclusive(|byte| *byte == b'\n').take(count);
            sink.out.write(&lines.collect::<Vec<_>>().concat()).await;
        }
        Ok(())
    }

    async fn wc(&mut self, args: &[&str], sink: &Sink) -> Result<(), Failure> {
        let [unit, rest @ ..] = args else { return Err(wrong("the simulator wants -c or -l")) };
        let all = self.all_of(rest.first()).await?;
        let count = match *unit {
            "-c" => all.len(),
            "-l" => all.iter().filter(|byte| **byte == b'\n').count(),
            _ => return Err(wrong("the simulator wants -c or -l")),
        };
        sink.out.write(format!("{count}\n").as_bytes()).await;
        Ok(())
    }

    async fn environment(&self, sink: &Sink) {
        let lines = self.variables.iter().map(|(name, value)| format!("{name}={value}\n"));
        sink.out.write(lines.collect::<String>().as_bytes()).await;
    }

    async fn printenv(&self, args: &[&str], sink: &Sink) -> Done {
        if args.is_empty() {
            self.environment(sink).await;
            return Ok(0);
        }
        let mut code = 0;
        for name in args {
            match self.variables.get(*name) {
                Some(value) => sink.out.write(format!("{value}\n").as_bytes()).await,
                None => code = 1,
            }
        }
        Ok(code)
    }

    fn export(&mut self, args: &[&str]) {
        let pairs = args.iter().filter_map(|arg| arg.split_once('='));
        self.variables.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    fn change_directory(&mut self, args: &[&str]) -> Result<(), Failure> {
        let path = self.path(args.first().unwrap_or(&"~"));
        if !self.sandbox.files.stat(&path)?.directory {
            return Err(Trouble::NotDirectory(path).into());
        }
        self.cwd = path;
        Ok(())
    }

    async fn list(&self, args: &[&str], sink: &Sink) -> Result<(), Failure> {
        let long = args.iter().any(|arg| arg.starts_with('-') && arg.contains('l'));
        let path = args.iter().find(|arg| !arg.starts_with('-')).unwrap_or(&".");
        let path = self.path(path);
        let entry = self.sandbox.files.stat(&path)?;
        let entries =
            if entry.directory { self.sandbox.files.list(&path, 1)? } else { vec![entry] };
        for entry in entries {
            let line = if long {
                let kind = if entry.directory { "drwxr-xr-x" } else { "-rw-r--r--" };
                format!("{kind} {} {:>10} {}\n", self.user, entry.size, entry.name())
            } else {
                format!("{}\n", entry.name())
            };
            sink.out.write(line.as_bytes()).await;
        }
        Ok(())
    }

    fn each_path(
        &self,
        args: &[&str],
        act: impl Fn(&Self, &str) -> Result<(), Trouble>,
    ) -> Result<(), Failure> {
        for path in args.iter().filter(|arg| !arg.starts_with('-')) {
            act(self, &self.path(path))?;
        }
        Ok(())
    }
}

fn echo(args: &[&str]) -> String {
    let (mut newline, mut escapes) = (true, false);
    let mut rest = args;
    while let [flag @ ("-n" | "-e" | "-ne" | "-en"), tail @ ..] = rest {
        newline &= !flag.contains('n');
        escapes |= flag.contains('e');
        rest = tail;
    }
    let text = rest.join(" ");
    let text = if escapes { unescape(&text) } else { text };
    if newline { format!("{text}\n") } else { text }
}

/// `\n`, `\r`, `\t`, `\\` and `\0`; anything else stays as it is.
fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => result.push('\n'),
                Some('r') => result.push('\r'),
                Some('t') => result.push('\t'),
                Some('0') => result.push('\0'),
                Some('\\') | None => result.push('\\'),
                Some(other) => result.extend(['\\', other]),
            },
            (c, false) => result.push(c),
        }
    }
    result
}

/// `%s`, `%d` and `%%`; the format is used again while there are arguments.
fn printf(args: &[&str]) -> Result<String, Failure> {
    let [format, values @ ..] = args else { return Err(wrong("usage: printf FORMAT [ARGUMENTS]")) };
    let format = unescape(format);
    let mut values = values.iter().peekable();
    let mut result = String::new();
    loop {
        let left = values.len();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                result.push(c);
                continue;
            }
            match chars.next() {
                Some('%') | None => result.push('%'),
                Some('s') => result.push_str(values.next().copied().unwrap_or_default()),
                Some('d') => result.push_str(values.next().copied().unwrap_or("0")),
                Some(_) => return Err(wrong("the simulator knows %s, %d and %%")),
            }
        }
        if values.len() == 0 || values.len() == left {
            return Ok(result);
        }
    }
}

fn seq(args: &[&str]) -> Result<String, Failure> {
    let numbers: Result<Vec<i64>, _> = args.iter().map(|arg| arg.parse()).collect();
    let (from, step, to) = match numbers.map_err(|_| wrong("invalid number"))?.as_slice() {
        [to] => (1, 1, *to),
        [from, to] => (*from, 1, *to),
        [from, step, to] if *step > 0 => (*from, *step, *to),
        _ => return Err(wrong("usage: seq [FIRST [STEP]] LAST")),
    };
    let numbers = std::iter::successors(Some(from), |n| n.checked_add(step));
    Ok(numbers.take_while(|n| *n <= to).take(1_000_000).map(|n| format!("{n}\n")).collect())
}

fn seconds(args: &[&str]) -> Result<Duration, Failure> {
    let seconds = args.first().and_then(|arg| arg.trim_end_matches('s').parse().ok());
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| wrong("invalid time interval"))
}

fn uname(args: &[&str]) -> String {
    let all = args.iter().any(|arg| arg.starts_with('-') && arg.contains('a'));
    let text = if all { "Linux simulator 6.1.0 x86_64 GNU/Linux" } else { "Linux" };
    format!("{text}\n")
}
