//! Owns the kinds of plugins: the name of each, what it exports, and how its bindings are reached.
//!
//! Refuses to know what is asked of them; each kind has a module for that. Bound: one marker type
//! for each kind.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use truststram_decide::batching::{Decision, Moment};
use truststram_decide::selection::Assignments;
use wasmtime::Store;
use wasmtime::component::{self, Component, Func, HasSelf, Linker};

use crate::aggregator::{AggregatorAnswer, AggregatorQuestion};
use crate::instance::Instance;
use crate::kernel::KernelQuestion;
use crate::placer::{PlacerAnswer, PlacerQuestion};
use crate::router::{RouterAnswer, RouterQuestion};
use crate::selector::SelectorQuestion;
use crate::state::InstanceState;
use crate::stats::Refusal;
use crate::tuner::{TunerAnswer, TunerQuestion};
use crate::v0_1_0::{self, types};

const LIFECYCLE: &str = "truststram:policy/lifecycle@0.1.0";

/// What an instance returned, or why it did not return.
pub type Called<T> = wasmtime::Result<T>;

/// A kind of plugin. The functions are the seam between the host and the generated bindings.
pub trait Kind: Sized + 'static {
    /// Its name in the configuration.
    const NAME: &'static str;
    /// Most questions of one recorded run; 0 where nothing is recorded, 1 where every question is.
    const RUN_QUESTIONS: usize;
    /// What is asked, in a form that can be kept and asked again.
    type Question: Serialize + DeserializeOwned + Clone + Debug + Send + 'static;
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + Clone + Debug + PartialEq + Send + 'static;
    /// The interfaces that a plugin of this kind exports.
    const EXPORTS: &'static [&'static str];
    /// A component whose imports are bound.
    type Pre: Send + Sync;
    /// The exports of an instance.
    type Bindings: Send;

    /// Binds the imports of `component`.
    fn link(
        linker: &mut Linker<InstanceState>,
        component: &Component,
    ) -> wasmtime::Result<Self::Pre>;

    /// Starts an instance.
    fn instantiate(
        pre: &Self::Pre,
        store: &mut Store<InstanceState>,
    ) -> wasmtime::Result<Self::Bindings>;

    /// `lifecycle.describe`.
    fn describe(
        bindings: &Self::Bindings,
        store: &mut Store<InstanceState>,
    ) -> Called<types::PluginInfo>;

    /// `lifecycle.configure`.
    fn configure(
        bindings: &Self::Bindings,
        store: &mut Store<InstanceState>,
        settings: &str,
    ) -> Called<Result<(), types::Error>>;

    /// `lifecycle.snapshot`.
    fn snapshot(bindings: &Self::Bindings, store: &mut Store<InstanceState>) -> Called<Vec<u8>>;

    /// `lifecycle.restore`.
    fn restore(
        bindings: &Self::Bindings,
        store: &mut Store<InstanceState>,
        state: &[u8],
    ) -> Called<Result<(), types::Error>>;

    /// Asks a question that was kept.
    ///
    /// # Errors
    /// Why there is no answer.
    fn ask(
        instance: &mut Instance<Self>,
        question: &Self::Question,
    ) -> Result<Self::Answer, Refusal>;
}

macro_rules! kind {
    ($(#[$doc:meta])* $kind:ident, $module:ident, $pre:ident, $name:literal, $export:literal,
     $run:literal, $question:ty, $answer:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $kind {}

        impl Kind for $kind {
            const NAME: &'static str = $name;
            const RUN_QUESTIONS: usize = $run;
            const EXPORTS: &'static [&'static str] = &[LIFECYCLE, $export];
            type Question = $question;
            type Answer = $answer;
            type Pre = v0_1_0::$module::$pre<InstanceState>;
            type Bindings = v0_1_0::$module::$kind;

            fn link(
                linker: &mut Linker<InstanceState>,
                component: &Component,
            ) -> wasmtime::Result<Self::Pre> {
                v0_1_0::$module::$kind::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
                v0_1_0::$module::$pre::new(linker.instantiate_pre(component)?)
            }

            fn instantiate(
                pre: &Self::Pre,
                store: &mut Store<InstanceState>,
            ) -> wasmtime::Result<Self::Bindings> {
                pre.instantiate(store)
            }

            fn describe(
                bindings: &Self::Bindings,
                store: &mut Store<InstanceState>,
            ) -> Called<types::PluginInfo> {
                bindings.truststram_policy_lifecycle().call_describe(store)
            }

            fn configure(
                bindings: &Self::Bindings,
                store: &mut Store<InstanceState>,
                settings: &str,
            ) -> Called<Result<(), types::Error>> {
                bindings.truststram_policy_lifecycle().call_configure(store, settings)
            }

            fn snapshot(
                bindings: &Self::Bindings,
                store: &mut Store<InstanceState>,
            ) -> Called<Vec<u8>> {
                bindings.truststram_policy_lifecycle().call_snapshot(store)
            }

            fn restore(
                bindings: &Self::Bindings,
                store: &mut Store<InstanceState>,
                state: &[u8],
            ) -> Called<Result<(), types::Error>> {
                bindings.truststram_policy_lifecycle().call_restore(store, state)
            }

            fn ask(
                instance: &mut Instance<Self>,
                question: &Self::Question,
            ) -> Result<Self::Answer, Refusal> {
                instance.answer(question)
            }
        }
    };
}

kind!(
    /// Plans the aggregation of federated rounds.
    Aggregator, aggregator, AggregatorPre, "aggregator", "truststram:policy/aggregation@0.1.0",
    1, AggregatorQuestion, AggregatorAnswer
);
kind!(
    /// Forms batches.
    Batcher, batcher, BatcherPre, "batcher", "truststram:policy/batching@0.1.0",
    16, Moment, Decision
);
kind!(
    /// Places workloads.
    Placer, placer, PlacerPre, "placer", "truststram:policy/placement@0.1.0",
    1, PlacerQuestion, PlacerAnswer
);
kind!(
    /// Routes requests.
    Router, router, RouterPre, "router", "truststram:policy/routing@0.1.0",
    64, RouterQuestion, RouterAnswer
);
kind!(
    /// Selects federated clients.
    Selector, selector, SelectorPre, "selector", "truststram:policy/selection@0.1.0",
    1, SelectorQuestion, Assignments
);
kind!(
    /// Tunes settings.
    Tuner, tuner, TunerPre, "tuner", "truststram:policy/tuning@0.1.0",
    1, TunerQuestion, TunerAnswer
);

/// An exported function; its type was checked when the component was bound.
fn function(
    instance: &component::Instance,
    store: &mut Store<InstanceState>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<Func> {
    let found = instance.get_export_index(&mut *store, None, interface);
    let index = found
        .as_ref()
        .and_then(|interface| instance.get_export_index(&mut *store, Some(interface), name));
    index
        .and_then(|index| instance.get_func(store, index))
        .ok_or_else(|| wasmtime::Error::msg(format!("{interface} has no function `{name}`")))
}

/// Reduces tiles of updates.
#[derive(Clone, Copy, Debug)]
pub enum Kernel {}

impl Kind for Kernel {
    const NAME: &'static str = "kernel";
    /// A tile is megabytes of numbers that the recording of its round would not need.
    const RUN_QUESTIONS: usize = 0;
    const EXPORTS: &'static [&'static str] = &["truststram:policy/kernel@0.1.0"];
    type Question = KernelQuestion;
    /// The reduced row.
    type Answer = Vec<f32>;
    type Pre = v0_1_0::kernel::KernelPluginPre<InstanceState>;
    /// The function `reduce-chunk`.
    type Bindings = Func;

    fn link(
        linker: &mut Linker<InstanceState>,
        component: &Component,
    ) -> wasmtime::Result<Self::Pre> {
        v0_1_0::kernel::KernelPluginPre::new(linker.instantiate_pre(component)?)
    }

    fn instantiate(
        pre: &Self::Pre,
        store: &mut Store<InstanceState>,
    ) -> wasmtime::Result<Self::Bindings> {
        let instance = pre.instance_pre().instantiate(&mut *store)?;
        function(&instance, store, Self::EXPORTS[0], "reduce-chunk")
    }

    /// A kernel has no `lifecycle`: it is what its file is called.
    fn describe(
        _bindings: &Self::Bindings,
        _store: &mut Store<InstanceState>,
    ) -> Called<types::PluginInfo> {
        let text = |text: &str| text.to_owned();
        let summary = text("reduces tiles of updates");
        Ok(types::PluginInfo { name: text("kernel"), version: String::new(), summary })
    }

    fn configure(
        _bindings: &Self::Bindings,
        _store: &mut Store<InstanceState>,
        settings: &str,
    ) -> Called<Result<(), types::Error>> {
        let none = settings.chars().all(|c| c.is_whitespace() || c == '{' || c == '}');
        let refusal = || types::Error::InvalidConfig("a kernel takes no settings".to_owned());
        Ok(none.then_some(()).ok_or_else(refusal))
    }

    fn snapshot(_bindings: &Self::Bindings, _store: &mut Store<InstanceState>) -> Called<Vec<u8>> {
        Ok(Vec::new())
    }

    fn restore(
        _bindings: &Self::Bindings,
        _store: &mut Store<InstanceState>,
        _state: &[u8],
    ) -> Called<Result<(), types::Error>> {
        Ok(Ok(()))
    }

    fn ask(
        instance: &mut Instance<Self>,
        question: &Self::Question,
    ) -> Result<Self::Answer, Refusal> {
        let rows: Vec<&[f32]> = question.rows.iter().map(Vec::as_slice).collect();
        instance.reduce_chunk(question.tile, &question.weights, &rows)
    }
}
