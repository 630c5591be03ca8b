//! A condition in CEL: compiled with every fault that can be known before there are facts, and evaluated in bounded time.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, ExecutionError, Program, Value};
use serde_json::Value as Json;

use super::{Document, Facts};

/// Loops within loops. A list that an expression has made itself is not counted step by step ([`Document::new`]), so this
/// bounds what remains.
const DEEPEST: usize = 3;
/// Steps that an expression may take on the sample.
const SAMPLE_STEPS: u64 = 10_000;
/// What an expression may call, besides CEL's macros and operators.
const FUNCTIONS: [&str; 6] = ["contains", "endsWith", "int", "size", "startsWith", "string"];

/// A compiled condition.
pub struct Expression(Program);

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Fault {
    /// The line within the expression, from 1.
    pub line: usize,
    /// The sentence for its author.
    pub words: String,
}

/// Whether a condition holds could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// It asks for what is not there, such as the first of no items.
    #[error("it cannot be told: {0}")]
    Failed(Box<ExecutionError>),
    /// It is no condition.
    #[error("it is neither true nor false, but {0}")]
    NoCondition(&'static str),
    /// It takes more steps than an evaluation may.
    #[error("there is too much to look at")]
    TooMuch,
}

/// Compiles a condition that has been [checked](check) before.
pub fn compile(expression: &str) -> Result<Expression, Fault> {
    let program = Program::compile(expression).map_err(|errors| match errors.errors.first() {
        Some(error) => {
            Fault { line: error.pos.0.max(1) as usize, words: format!("this is no expression: {}", error.msg) }
        }
        None => Fault { line: 1, words: "this is no expression".into() },
    })?;
    Ok(Expression(program))
}

/// Checks a condition. Names that no facts have, calls of what there is not, and what is neither true nor false are
/// faults already here.
pub fn check(source: &str) -> Result<Expression, Fault> {
    let expression = compile(source)?;
    let mut names = Names { program: &expression.0, source, bound: Vec::new(), line: 1 };
    names.visit(expression.0.expression())?;
    // What is not in the sample, such as a path, may be in the facts.
    match expression.holds(&Document::new(&Facts::sample(), SAMPLE_STEPS)) {
        Err(Unknown::Failed(error)) if !is_about_content(&error) => {
            Err(Fault { line: 1, words: format!("this cannot be evaluated: {error}") })
        }
        Err(error @ Unknown::NoCondition(_)) => Err(Fault { line: 1, words: error.to_string() }),
        _ => Ok(expression),
    }
}

fn is_about_content(error: &ExecutionError) -> bool {
    use ExecutionError::{DivisionByZero, FunctionError, IndexOutOfBounds, NoSuchKey, RemainderByZero};
    matches!(error, DivisionByZero(_) | FunctionError { .. } | IndexOutOfBounds(_) | NoSuchKey(_) | RemainderByZero(_))
}

impl Expression {
    /// Whether the condition holds. A list that is not there to the end makes it unknown, never false.
    pub fn holds(&self, document: &Document) -> Result<bool, Unknown> {
        let mut context = Context::with_env(document.env.clone());
        context.set_variable_resolver(document);
        let result = Value::resolve_val(self.0.expression(), &context);
        if document.budget.is_spent() {
            return Err(Unknown::TooMuch);
        }
        match result.map_err(|error| Unknown::Failed(Box::new(error)))?.downcast_ref::<cel::common::types::CelBool>() {
            Some(truth) => Ok((*truth).into()),
            None => Err(Unknown::NoCondition("some other value")),
        }
    }
}

/// All names of the facts: variables, and fields at whatever depth.
struct Known {
    variables: BTreeSet<String>,
    fields: BTreeSet<String>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    fn collect(json: &Json, fields: &mut BTreeSet<String>) {
        match json {
            Json::Object(object) => object.iter().for_each(|(name, json)| {
                fields.insert(name.clone());
                collect(json, fields);
            }),
            Json::Array(items) => items.iter().for_each(|json| collect(json, fields)),
            _ => {}
        }
    }
    let sample = serde_json::to_value(Facts::sample()).unwrap_or_default();
    let variables = sample.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    let mut fields = BTreeSet::new();
    collect(&sample, &mut fields);
    // Of a file there is none in the sample, for it would need a path.
    collect(&serde_json::to_value(super::facts::File::default()).unwrap_or_default(), &mut fields);
    Known { variables, fields }
});

/// Looks for names that mean nothing.
struct Names<'a> {
    program: &'a Program,
    source: &'a str,
    /// The variables of the loops around, CEL's own among them.
    bound: Vec<&'a str>,
    /// Where the last node stood that has a place of its own.
    line: usize,
}

impl<'a> Names<'a> {
    fn visit(&mut self, node: &'a IdedExpr) -> Result<(), Fault> {
        if let Some((start, _)) = self.program.source_info().offset_for(node.id) {
            self.line = 1 + self.source.chars().take(start as usize).filter(|&letter| letter == '\n').count();
        }
        match &node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                match self.bound.contains(&name.as_str()) || KNOWN.variables.contains(name.trim_start_matches('.')) {
                    true => Ok(()),
                    false => Err(self.fault(format!("there is no `{name}`; there are {}", listed(&KNOWN.variables)))),
                }
            }
            Expr::Select(select) => {
                self.visit(&select.operand)?;
                // The arguments of a call are named by its manual page.
                let is_argument = matches!(&select.operand.expr, Expr::Select(outer) if outer.field == "arguments");
                match is_argument || KNOWN.fields.contains(&select.field) {
                    true => Ok(()),
                    false => Err(self.fault(format!("nothing has a field `{}`", select.field))),
                }
            }
            Expr::Call(call) => {
                let is_operator = call.func_name.contains('_') || call.func_name.starts_with(['@', '!', '-']);
                if !is_operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    return Err(self.fault(format!("there is no function `{}`", call.func_name)));
                }
                call.target.as_deref().into_iter().chain(&call.args).try_for_each(|node| self.visit(node))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|node| self.visit(node)),
            Expr::Comprehension(looped) => {
                self.visit(&looped.iter_range)?;
                // Each loop binds the variable of its items and that of its result.
                self.bound.extend([looped.iter_var.as_str(), looped.accu_var.as_str()]);
                if self.bound.len() > 2 * DEEPEST {
                    return Err(self.fault(format!("loops stand in each other {DEEPEST} deep at most")));
                }
                for part in [&looped.accu_init, &looped.loop_cond, &looped.loop_step, &looped.result] {
                    self.visit(part)?;
                }
                self.bound.truncate(self.bound.len() - 2);
                Ok(())
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => self.visit(&entry.key).and_then(|()| self.visit(&entry.value)),
                EntryExpr::StructField(field) => self.visit(&field.value),
            }),
            Expr::Struct(_) | Expr::Unspecified => Err(self.fault("facts know no such types".to_owned())),
        }
    }

    fn fault(&self, words: String) -> Fault {
        Fault { line: self.line, words }
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::facts::{File, Row, View};
    use super::*;

    fn facts() -> Facts {
        let row = |point: &str, kind: &str| Row {
            point: point.into(),
            kind: kind.into(),
            options: vec!["rw".into(), "nosuid".into()],
            ..Row::default()
        };
        let machine = View { host: true, rows: vec![row("/", "overlay")], ..View::default() };
        let container = View { namespace: 2, rows: vec![row("/", "overlay"), row("/mnt", "tmpfs")], ..View::default() };
        Facts {
            machine: machine.clone(),
            views: vec![machine, container],
            files: [("/etc/a".to_owned(), File { exists: true, kind: "file".into(), ..File::default() })].into(),
            ..Facts::default()
        }
    }

    fn holds(expression: &str) -> Result<bool, Unknown> {
        check(expression)
            .unwrap_or_else(|fault| panic!("{expression}: {fault:?}"))
            .holds(&Document::new(&facts(), 1000))
    }

    #[test]
    fn conditions_are_judged_by_the_facts() {
        for (expression, truth) in [
            (r#"views.exists(v, !v.host && v.rows.exists(r, r.point == "/mnt" && r.type == "tmpfs"))"#, true),
            (r#"machine.rows.exists(r, r.point == "/mnt")"#, false),
            (r#"views.all(v, v.rows.exists(r, r.point == "/"))"#, true),
            (r#"files["/etc/a"].exists && files["/etc/a"].type == "file" && !("/b" in files)"#, true),
            (r#"machine.rows.all(r, "nosuid" in r.options && !("ro" in r.options))"#, true),
            (r#"views.size() == 2 && size(views.filter(v, v.host)) == 1"#, true),
            (r#"views.exists(v, v.namespace != machine.namespace)"#, true),
            (r#"machine.rows[0] == views[0].rows[0] && machine.rows[0] != views[1].rows[1]"#, true),
            (r#"views[1].namespace in [1, 2] && processes.size() == 0 && namespaces.mnt == 0"#, true),
            (
                r#"views.exists(v, v.rows.exists(r, machine.rows.exists(m, m.point == r.point && r.type != m.type)))"#,
                false,
            ),
            (r#"trace.exists(c, c.name == "mount" && c.arguments.target.contains("/mnt"))"#, false),
            (r#"files["/nothing"].exists || true"#, true),
        ] {
            assert_eq!(holds(expression).expect(expression), truth, "{expression}");
        }
        assert!(matches!(holds(r#"files["/nothing"].exists"#), Err(Unknown::Failed(_))));
    }

    #[test]
    fn faults_are_known_when_it_is_checked_and_name_their_line() {
        for (expression, line, words) in [
            ("machine.rows.exists(r,", 1, "this is no expression"),
            ("", 1, "this is no expression"),
            ("true &&\nmachin.rows.size() == 1", 2, "there is no `machin`"),
            ("views.exists(v, v.host)\n  && machine.rows.exists(r, r.pont == '/')", 2, "nothing has a field `pont`"),
            ("views.exists(v, host)", 1, "there is no `host`"),
            ("views.size()", 1, "neither true nor false"),
            ("true ||\n\nviews.length() == 1", 3, "there is no function `length`"),
            ("machine.root.matches('/')", 1, "there is no function `matches`"),
            ("views.exists(v, v.ordinal == 'a' + 1)", 1, "this cannot be evaluated"),
            ("views.all(a, views.all(b, views.all(c, views.all(d, true))))", 1, "3 deep at most"),
        ] {
            let fault = check(expression).err().unwrap_or_else(|| panic!("it is refused: {expression}"));
            assert_eq!(fault.line, line, "{expression}: {fault}");
            assert!(fault.words.contains(words), "{expression}: {fault}");
        }
    }

    #[test]
    fn no_list_makes_a_condition_expensive_and_none_that_is_too_long_makes_it_true() {
        let mut facts = Facts::default();
        facts.machine.rows = vec![Row::default(); 1000];
        let absent =
            check("!machine.rows.exists(r, machine.rows.exists(s, machine.rows.exists(t, t.id + r.id + s.id == 1)))");
        let absent = absent.expect("it compiles");
        let document = Document::new(&facts, 10_000);
        assert!(matches!(absent.holds(&document), Err(Unknown::TooMuch)));
        assert!(
            matches!(absent.holds(&document), Err(Unknown::TooMuch)),
            "all of a document's evaluations share the steps"
        );
        let short = check("!machine.rows.exists(r, r.id == 1)").expect("it compiles");
        assert!(short.holds(&Document::new(&facts, 10_000)).expect("1000 steps"));
    }
}
