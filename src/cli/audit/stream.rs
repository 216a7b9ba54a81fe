//! Server-sent events (HTML Living Standard, 9.2.6), as far as a gateway sends them: data, kinds and ids.

/// An event of the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    /// What to go on from after a break, where it was said.
    pub(super) id: Option<String>,
    /// What kind of event it is, where that was said.
    pub(super) kind: Option<String>,
    /// The data.
    pub(super) data: String,
}

/// Reads a stream that comes in pieces.
#[derive(Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    id: Option<String>,
    kind: Option<String>,
    data: Option<String>,
}

impl Parser {
    /// The events that are complete with this piece.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for byte in piece {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                messages.extend(self.take(line.strip_suffix('\r').unwrap_or(&line)));
            } else {
                self.line.push(*byte);
            }
        }
        messages
    }

    fn take(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let (id, kind) = (self.id.take(), self.kind.take());
            return self.data.take().map(|data| Message { id, kind, data });
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" => self.id = Some(value.to_owned()),
            "event" => self.kind = Some(value.to_owned()),
            // A comment, which keeps the connection alive, or what this reader has no use for.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_give_the_same_events() {
        let text = ": hello\n\nid: 7\nevent: audit\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\nid: 9\nevent: x\n\ndata:z\n\ndata: cut";
        let message = |id: Option<&str>, kind: Option<&str>, data: &str| Message {
            id: id.map(str::to_owned),
            kind: kind.map(str::to_owned),
            data: data.to_owned(),
        };
        let expected = [
            message(Some("7"), Some("audit"), "{\"a\":1}"),
            message(None, None, "x\ny"),
            // What was said of an event without data does not count for the next one.
            message(None, None, "z"),
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let pieces = text.as_bytes().chunks(size);
            let found: Vec<Message> = pieces.flat_map(|piece| parser.feed(piece)).collect();
            assert_eq!(found, expected, "pieces of {size}");
        }
    }
}
