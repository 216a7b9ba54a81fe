//! Server-sent events (HTML Living Standard, 9.2.6), as far as a gateway sends them: data and ids.

/// An event of the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    /// What to go on from after a break, where it was said.
    pub(super) id: Option<String>,
    /// The data.
    pub(super) data: String,
}

/// Reads a stream that comes in pieces.
#[derive(Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    id: Option<String>,
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
            let id = self.id.take();
            return self.data.take().map(|data| Message { id, data });
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
        let text = ": hello\n\nid: 7\nevent: audit\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\nid: 9\n\ndata: cut";
        let expected = [
            Message { id: Some("7".into()), data: "{\"a\":1}".into() },
            Message { id: None, data: "x\ny".into() },
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let pieces = text.as_bytes().chunks(size);
            let found: Vec<Message> = pieces.flat_map(|piece| parser.feed(piece)).collect();
            assert_eq!(found, expected, "pieces of {size}");
        }
    }
}
