//! Facts as CEL's values. Lists of records count each look at an item, so that an evaluation ends after so many steps
//! whatever a learner has put into the lists.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use cel::common::traits::{self, Container, Indexer, Iterable, Sizer};
use cel::common::types::{CelBool, CelInt, CelList, CelNull, CelString, LIST_TYPE, MAP_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use cel::{Env, ExecutionError};
use serde_json::Value as Json;

use super::Facts;

/// What expressions may call.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Facts, ready to be asked. It may be sent to another thread.
pub struct Document {
    variables: Record,
    pub(super) budget: Arc<Budget>,
    pub(super) env: Arc<Env>,
}

impl Document {
    /// The document of these facts. All its evaluations together take `steps` steps at most.
    pub fn new(facts: &Facts, steps: u64) -> Document {
        let budget = Arc::new(Budget(AtomicU64::new(steps)));
        // Structs, lists and text are always JSON.
        let json = serde_json::to_value(facts).unwrap_or_default();
        let fields = match json {
            Json::Object(fields) => fields.into_iter().map(|(name, json)| (name, value(json, &budget))).collect(),
            _ => BTreeMap::new(),
        };
        Document { variables: Record(Arc::new(fields)), budget, env: ENV.clone() }
    }
}

impl VariableResolver for Document {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        self.variables.0.get(variable).map(|value| CowVal::Borrowed(value.as_ref()))
    }
}

/// How many steps are left.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Budget {
    /// Takes one step; false where none is left.
    fn step(&self) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    pub fn is_spent(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

fn value(json: Json, budget: &Arc<Budget>) -> Box<dyn Val> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(truth) => Box::new(CelBool::from(truth)),
        Json::Number(number) => Box::new(CelInt::from(number.as_i64().unwrap_or(i64::MAX))),
        Json::String(text) => Box::new(CelString::from(text)),
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, json)| (name, value(json, budget)));
            Box::new(Record(Arc::new(fields.collect())))
        }
        Json::Array(items) => {
            let are_records = matches!(items.first(), Some(Json::Object(_)));
            let items: Vec<Box<dyn Val>> = items.into_iter().map(|json| value(json, budget)).collect();
            match are_records {
                true => Box::new(Records { items: Arc::new(items), budget: budget.clone() }),
                false => Box::new(CelList::from(items)),
            }
        }
    }
}

/// A map with names. CEL's own is copied whole for each turn of a loop.
#[derive(Clone, Debug)]
struct Record(Arc<BTreeMap<String, Box<dyn Val>>>);

impl Val for Record {
    fn get_type(&self) -> &Type {
        Record::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Record>().is_some_and(|other| {
            self.0.len() == other.0.len()
                && self.0.iter().zip(other.0.iter()).all(|(one, other)| one.0 == other.0 && one.1.equals(&**other.1))
        })
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Record {}

impl Container for Record {
    fn contains(&self, name: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.get(name).is_ok())
    }
}

impl Indexer for Record {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let Some(name) = name.downcast_ref::<CelString>() else {
            let (got, want) = (name.get_type().name().to_owned(), "string".to_owned());
            return Err(ExecutionError::UnexpectedType { got, want });
        };
        match self.0.get(name.inner()) {
            Some(value) => Ok(CowVal::Borrowed(value.as_ref())),
            None => Err(ExecutionError::no_such_key(name.inner())),
        }
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(name).map(CowVal::into_owned)
    }
}

/// A list of records. Each item that is looked at is a step.
#[derive(Clone, Debug)]
struct Records {
    items: Arc<Vec<Box<dyn Val>>>,
    budget: Arc<Budget>,
}

impl Val for Records {
    fn get_type(&self) -> &Type {
        Records::cel_type()
    }

    fn cel_type() -> &'static Type {
        &LIST_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Records {}

impl Sizer for Records {
    fn size(&self) -> CelInt {
        CelInt::from(self.items.len() as i64)
    }
}

impl Indexer for Records {
    fn get<'b, 'v>(&'b self, place: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let Some(place) = place.downcast_ref::<CelInt>() else {
            let (got, want) = (place.get_type().name().to_owned(), "int".to_owned());
            return Err(ExecutionError::UnexpectedType { got, want });
        };
        let place = *place.inner();
        let item = usize::try_from(place).ok().and_then(|place| self.items.get(place));
        item.map(|item| CowVal::Borrowed(item.as_ref())).ok_or(ExecutionError::IndexOutOfBounds(place.into()))
    }

    fn steal<'v>(self: Box<Self>, place: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(place).map(CowVal::into_owned)
    }
}

impl Iterable for Records {
    fn iter<'b, 'v>(&'b self) -> Box<dyn traits::Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Items { items: self.items.iter(), budget: &self.budget })
    }
}

struct Items<'b> {
    items: std::slice::Iter<'b, Box<dyn Val>>,
    budget: &'b Budget,
}

impl<'b, 'v> traits::Iterator<'b, 'v> for Items<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        // What comes of a list that seems to end early is not believed: see Expression::holds.
        let item = self.items.next().filter(|_| self.budget.step())?;
        Some(item.as_ref())
    }
}
