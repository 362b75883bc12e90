//! Four-letter words on a client connection (client-protocol 1.6).

use super::Engine;
use crate::admin::{BUSY, FourLetterWord, Inspect, Queue, Turns, four_letter_answer};
use crate::net::conn::{Conn, Phase};
use std::sync::{Arc, Weak};

/// Answers of a kind that are made at a time.
const AT_ONCE: usize = 1;

/// Turns to answer: who asks whether the server is well must not wait behind those who list it.
pub(super) struct Words {
    lists: Queue,
    others: Turns,
}

impl Words {
    pub(super) fn new() -> Words {
        Words { lists: Queue::new(AT_ONCE), others: Turns::new(AT_ONCE) }
    }
}

impl Engine {
    /// Says who knows the answers.
    pub(crate) fn answer_words_by(&self, inspect: Weak<dyn Inspect>) {
        // Once: the server is built before its listeners.
        let _ = self.inspect.set(inspect);
    }

    /// Answers a four-letter word, if the first bytes of a connection are one; the connection then
    /// ends. Some answers are long, so they are made on a thread that serves nobody else.
    pub(super) fn four_letter_word(&self, conn: &Arc<Conn>, input: &[u8]) -> bool {
        let Some(word) =
            input.first_chunk::<4>().and_then(|word| FourLetterWord::from_bytes(*word))
        else {
            return false;
        };
        self.count_packet(conn, 4);
        let Some(inspect) = self.inspect.get().and_then(Weak::upgrade) else {
            conn.kill();
            return true;
        };
        conn.state.lock().phase = Phase::Asking;
        let argument = input[4..].to_vec();
        let conn = conn.clone();
        let Words { lists, others } = &self.words;
        let place = if word.is_list() { lists.enter() } else { None };
        if word.is_list() && place.is_none() {
            say(&conn, &format!("{BUSY}\n"));
            return true;
        }
        let turns = if place.is_some() { &lists.turns } else { others };
        let answer = turns.run(move || {
            let _place = place;
            let whitelist = inspect.config().service.four_letter_words;
            say(&conn, &four_letter_answer(word, &argument, whitelist, inspect.as_ref()));
        });
        // After a panic, which has been told, the connection ends by its deadline.
        tokio::spawn(answer);
        true
    }
}

fn say(conn: &Conn, text: &str) {
    {
        let mut state = conn.state.lock();
        if state.phase == Phase::Dead {
            return;
        }
        state.output().extend_from_slice(text.as_bytes());
        state.phase = Phase::Closing;
        conn.count_backlog(&mut state);
    }
    conn.flush();
    conn.wake();
}
