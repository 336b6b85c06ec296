//! Conversations: the next turn carries everything said before, the engine's own answer included.
//!
//! A turn is planned when its predecessor has ended, so what a prefix cache can reuse is what it really has. A
//! conversation whose turn fails ends there; one that outgrows the model's context ends before it does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stopwatt_core::EndKind;
use stopwatt_load::{Completed, FollowUp, Job};
use stopwatt_serving::trace::Said;
use stopwatt_serving::workload::Workload;

use super::prompts::{Place, Prompts};

/// The conversations of one stretch of load.
pub(super) struct Talks<'a> {
    prompts: &'a Prompts,
    workload: &'a Workload,
    place: Place,
    /// Requests that all shares together send; `None` when time ends it.
    count: Option<u64>,
    max_context: Option<u32>,
    /// Next conversation of the whole sequence, and the requests planned before it.
    next: Mutex<(u64, u64)>,
    open: Mutex<HashMap<u64, Talk>>,
    ids: AtomicU64,
    cut: AtomicU64,
}

/// One conversation that goes on.
struct Talk {
    said: Vec<Said>,
    /// Turns it will have.
    turns: u32,
}

impl<'a> Talks<'a> {
    pub(super) fn new(
        prompts: &'a Prompts,
        workload: &'a Workload,
        place: Place,
        count: Option<u64>,
        max_context: Option<u32>,
    ) -> Self {
        Self {
            prompts,
            workload,
            place,
            count,
            max_context,
            next: Mutex::default(),
            open: Mutex::default(),
            ids: AtomicU64::new(place.first_id),
            cut: AtomicU64::new(0),
        }
    }

    /// The first turn of the next conversation of this share; `None` when enough is planned.
    pub(super) fn begin(&self) -> Option<Job> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (session, before) = *next;
            let left = self.count.map_or(u64::MAX, |n| n.saturating_sub(before));
            if left == 0 {
                return None;
            }
            let planned =
                u64::from(self.workload.turns(self.place.shape_seed, self.place.entry(session)).max(1));
            let turns = planned.min(left) as u32;
            *next = (session + 1, before + u64::from(turns));
            if !self.place.share.has(session) {
                continue;
            }
            let (job, said) = self.prompts.opening(self.workload, self.place, session);
            if turns > 1 {
                self.open().insert(session, Talk { said, turns });
            }
            return Some(Job { id: self.id(), session: Some(session), turn: Some(0), ..job });
        }
    }

    /// What follows a turn that ended.
    pub(super) fn follow(&self, done: &Completed) -> Option<FollowUp> {
        let record = &done.record;
        let (session, turn) = (record.session?, record.turn? + 1);
        let mut talk = self.open().remove(&session)?;
        if record.end != EndKind::Ok {
            self.cut.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let later = self.workload.later_turn(self.place.shape_seed, self.place.entry(session), turn);
        let before = match (record.input_usage, record.output_tokens()) {
            (Some(input), Some(output)) => input + output,
            _ => record.input_asked + record.output_asked,
        };
        let asked = before.saturating_add(later.added);
        if self.max_context.is_some_and(|limit| u64::from(asked) + u64::from(later.output) > u64::from(limit))
        {
            self.cut.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let answer = done.text.clone().unwrap_or_default();
        talk.said.push(Said { role: "assistant".to_owned(), text: answer });
        talk.said.extend(self.prompts.turn(self.workload, self.place, session, turn, later.added));
        let job = Job {
            id: self.id(),
            session: Some(session),
            turn: Some(turn),
            ..self.prompts.talk_job(self.place, &talk.said, asked, later.output)
        };
        if turn + 1 < talk.turns {
            self.open().insert(session, talk);
        }
        Some(FollowUp { at: record.end_ns + later.think_ns, job })
    }

    /// The first request id that no job of these has.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.load(Ordering::Relaxed)
    }

    /// Conversations that ended before their last turn.
    pub(super) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Talk>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
