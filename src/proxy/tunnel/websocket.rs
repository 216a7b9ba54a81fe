//! As much of WebSocket's framing as it takes to end one politely (RFC 6455): where a frame ends, and a close frame.
//!
//! Pure. Payloads are counted, never looked at, and nothing is checked: that is for the two sides to do.

/// Longest head of a frame.
const MAX_HEAD: usize = 14;

/// The service restarts, and will be there again (IANA's registry of close codes).
const RESTART: u16 = 1012;

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; MAX_HEAD],
    /// Bytes of the head so far.
    have: usize,
    /// Bytes of the payload still to come.
    left: u64,
    is_closed: bool,
}

impl Frames {
    /// Takes note of bytes that have passed.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= count as u64;
                bytes = bytes.get(count..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            if self.have >= 2 && self.have == head_length(self.head) {
                self.left = payload_length(self.head);
                self.is_closed |= self.head.first().is_some_and(|byte| byte & 0x0f == 8);
                self.have = 0;
            }
        }
    }

    /// Whether a frame of one's own may follow: no other has begun, and none was to be the last.
    pub(super) const fn may_close(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.is_closed
    }
}

/// Of the frame whose first two bytes are there.
fn head_length([_, second, ..]: [u8; MAX_HEAD]) -> usize {
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + extended + if second & 0x80 == 0 { 0 } else { 4 }
}

/// Of the frame whose head is there.
fn payload_length(head: [u8; MAX_HEAD]) -> u64 {
    let [_, second, a, b, c, d, e, f, g, h, ..] = head;
    match second & 0x7f {
        126 => u16::from_be_bytes([a, b]).into(),
        127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        short => short.into(),
    }
}

/// What a server says to its client when it restarts.
pub(super) fn close_from_server() -> [u8; 4] {
    let [high, low] = RESTART.to_be_bytes();
    [0x88, 2, high, low]
}

/// The same from a client, whose frames are masked.
pub(super) fn close_from_client([a, b, c, d]: [u8; 4]) -> [u8; 8] {
    let [high, low] = RESTART.to_be_bytes();
    [0x88, 0x82, a, b, c, d, high ^ a, low ^ b]
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, is_masked: bool, length: usize) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..=125 => frame.push(mask | u8::try_from(length).unwrap()),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(0x88, if is_masked { 4 } else { 0 } + length));
        frame
    }

    proptest! {
        #[test]
        fn frames_end_where_they_end_however_they_are_cut(
            kinds in vec((0_u8..3, any::<bool>(), prop_oneof![0_usize..300, 65_530_usize..65_540]), 1..6),
            cut in 1_usize..5_000,
        ) {
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for (opcode, is_masked, length) in kinds {
                bytes.extend(frame(opcode, is_masked, length));
                ends.push(bytes.len());
            }
            let (mut frames, mut passed) = (Frames::default(), 0);
            for piece in bytes.chunks(cut) {
                prop_assert_eq!(frames.may_close(), ends.contains(&passed));
                frames.advance(piece);
                passed += piece.len();
            }
            prop_assert!(frames.may_close());
        }
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        for close in [close_from_server().to_vec(), close_from_client([1, 2, 3, 4]).to_vec()] {
            let mut frames = Frames::default();
            frames.advance(&close);
            assert!(!frames.may_close());
        }
        assert_eq!(close_from_client([0; 4])[6..], close_from_server()[2..]);
    }
}
