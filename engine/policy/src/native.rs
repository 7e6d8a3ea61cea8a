//! Owns the policies that ship as native code, behind the same questions as their components: what
//! the answers and the time of a plugin are held against.
//!
//! Refuses to know formulas; `truststram_decide` has them. Bound: one policy and what it remembers.

use std::fmt;

use truststram_decide::{aggregation, batching, placement, routing, selection, tuning};

use crate::aggregator::{AggregatorAnswer, AggregatorQuestion};
use crate::kind::{Aggregator, Batcher, Kernel, Kind, Placer, Router, Selector, Tuner};
use crate::placer::{PlacerAnswer, PlacerQuestion};
use crate::router::{RouterAnswer, RouterQuestion};
use crate::selector::SelectorQuestion;
use crate::stats::Refusal;
use crate::tuner::{TunerAnswer, TunerQuestion};

/// What answers a question, or declines.
type Decide<Q, A> = Box<dyn FnMut(&Q) -> Option<A> + Send>;

/// A policy of kind `K`.
pub struct Native<K: Kind>(Decide<K::Question, K::Answer>);

impl<K: Kind> fmt::Debug for Native<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Native").field(&K::NAME).finish()
    }
}

impl<K: Kind> Native<K> {
    fn new(decide: impl FnMut(&K::Question) -> Option<K::Answer> + Send + 'static) -> Self {
        Self(Box::new(decide))
    }

    /// Decides.
    ///
    /// # Errors
    /// [`Refusal::Declined`] where the policy cannot decide this.
    pub fn decide(&mut self, question: &K::Question) -> Result<K::Answer, Refusal> {
        (self.0)(question).ok_or(Refusal::Declined)
    }
}

/// A kind whose policies that ship are native code as well.
pub trait Twin: Kind {
    /// The policy with these settings, the text of one JSON object with the key `policy`; none for
    /// a kind that has none.
    ///
    /// # Errors
    /// What is wrong with the settings.
    fn native(settings_json: &str) -> Result<Option<Native<Self>>, String>;
}

impl Twin for Batcher {
    fn native(settings_json: &str) -> Result<Option<Native<Self>>, String> {
        let settings = batching::Settings::parse(settings_json)?;
        Ok(Some(Native::new(move |moment| Some(batching::decide(&settings, moment)))))
    }
}

impl Twin for Router {
    fn native(settings_json: &str) -> Result<Option<Native<Self>>, String> {
        let mut router = routing::Router::new(routing::Settings::parse(settings_json)?);
        Ok(Some(Native::new(move |question| match question {
            RouterQuestion::Observe(table) => {
                router.observe(table);
                Some(RouterAnswer::Observed)
            }
            RouterQuestion::Pick { cost_hint, .. } => {
                let picked = Some(router.pick(*cost_hint));
                Some(RouterAnswer::Picked(picked.filter(|&index| index != routing::NO_CHOICE)))
            }
        })))
    }
}

impl Twin for Aggregator {
    fn native(settings_json: &str) -> Result<Option<Native<Self>>, String> {
        let settings = aggregation::Settings::parse(settings_json)?;
        Ok(Some(Native::new(move |question| match question {
            AggregatorQuestion::Wanted => Some(AggregatorAnswer::Wanted(settings.wanted())),
            AggregatorQuestion::Admit { round, update } => {
                Some(AggregatorAnswer::Admitted(aggregation::admit(&settings, round, update)))
            }
            AggregatorQuestion::MakePlan { updates, .. } => {
                aggregation::make_plan(&settings, updates).ok().map(AggregatorAnswer::Planned)
            }
        })))
    }
}

impl Twin for Selector {
    fn native(settings_json: &str) -> Result<Option<Native<Self>>, String> {
        let settings = selection::Settings::parse(settings_json)?;
        Ok(Some(Native::new(move |question: &SelectorQuestion| {
            selection::select(&settings, &question.request, &question.clients).ok()
        })))
    }
}

impl Twin for Placer {
    fn native(settings_json: &str) -> Result<Option<Native<Self>>, String> {
        let settings = placement::Settings::parse(settings_json)?;
        Ok(Some(Native::new(move |question| match question {
            PlacerQuestion::Place { sites, workloads, .. } => {
                placement::place(&settings, sites, workloads).ok().map(PlacerAnswer::Placed)
            }
            PlacerQuestion::RankSites { purpose, sites } => {
                placement::rank_sites(*purpose, sites).ok().map(PlacerAnswer::Ranked)
            }
            PlacerQuestion::PlaceCache { item, sites } => {
                placement::place_cache(&settings, item, sites).ok().map(PlacerAnswer::Cached)
            }
        })))
    }
}

impl Twin for Tuner {
    fn native(settings_json: &str) -> Result<Option<Native<Self>>, String> {
        let settings = tuning::Settings::parse(settings_json)?;
        let mut state = tuning::State::default();
        Ok(Some(Native::new(move |question| match question {
            TunerQuestion::Propose { facts, parameters, history } => {
                let proposed = tuning::propose(&settings, &mut state, facts, parameters, history);
                proposed.ok().map(TunerAnswer::Proposed)
            }
            &TunerQuestion::Conclude { trial, before, after, is_kept } => {
                tuning::conclude(&mut state, trial, before, after, is_kept);
                Some(TunerAnswer::Concluded)
            }
        })))
    }
}

impl Twin for Kernel {
    /// No kernel ships.
    fn native(_settings_json: &str) -> Result<Option<Native<Self>>, String> {
        Ok(None)
    }
}
