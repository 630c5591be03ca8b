//! Tasks and quizzes: block quotations whose text is for the page, and whose expressions are for the lab alone.

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};
use shared::lesson::{Block, Quiz, Task};

use super::{Fault, Placed, Problem, Reader, Spanned, html, parts, text};
use crate::checks::{self, Check, Hint};
use crate::lessons::limits;

/// The blocks that hold an expression.
const CHECK: &str = "check";
const HINT_WHEN: &str = "hint-when";

/// Whether a code block with these words after its fence holds an expression.
pub(super) fn is_expression(info: &str) -> bool {
    matches!(info.split_whitespace().next(), Some(CHECK | HINT_WHEN))
}

impl Reader<'_> {
    /// The task that begins at this byte: the words after `TASK`, and what is in the quotation.
    pub(super) fn task(&mut self, at: usize, words: &str, inner: &[Spanned]) -> Result<Block, Fault> {
        let id = self.id(at, words.trim())?;
        let mut parts = parts(inner);
        let request = self.paragraph(at, parts.next(), Problem::TaskForm)?;
        let mut when = None;
        let mut hints: Vec<(usize, String, Vec<Event>)> = Vec::new();
        for part in parts {
            let at = part[0].1.start;
            match (self.expression(part)?, hints.last_mut()) {
                (Some((CHECK, expression)), None) if when.is_none() => when = Some(expression),
                (Some((HINT_WHEN, expression)), _) if when.is_some() => hints.push((at, expression, Vec::new())),
                (None, Some((_, _, advice))) => {
                    self.check_prose(part)?;
                    self.check_is_no_block_of_its_own(part)?;
                    advice.extend(part.iter().map(|(event, _)| event.clone()));
                }
                _ => return Err(self.fault(at, Problem::TaskForm)),
            }
            if hints.len() > limits::HINTS {
                return Err(self.fault(at, Problem::TooManyHints));
            }
        }
        let when = when.ok_or_else(|| self.fault(at, Problem::NoCheck))?;
        let hints = hints.into_iter().map(|(at, when, advice)| match advice.is_empty() {
            true => Err(self.fault(at, Problem::EmptyHint)),
            false => Ok(Hint { when, html: html(advice) }),
        });
        let hints = hints.collect::<Result<_, _>>()?;
        self.keep(at, Check { id: id.clone(), when, hints, files: self.files.clone(), options: Vec::new() });
        Ok(Block::Task { task: Task { id, html: request } })
    }

    /// The quiz that begins at this byte: the words after `QUIZ`, and what is in the quotation.
    pub(super) fn quiz(&mut self, at: usize, words: &str, inner: &[Spanned]) -> Result<Block, Fault> {
        let (name, word) = words.trim().split_once(' ').map_or((words.trim(), None), |(name, word)| (name, Some(word)));
        if let Some(word) = word.filter(|word| *word != "several") {
            return Err(self.fault(at, Problem::QuizWord { word: word.to_owned() }));
        }
        let id = self.id(at, name)?;
        let mut parts = parts(inner);
        let question = self.paragraph(at, parts.next(), Problem::QuizForm)?;
        let list = parts.next().ok_or_else(|| self.fault(at, Problem::QuizForm))?;
        let (options, expressions) = self.options(list)?;
        let check = parts.next().ok_or_else(|| self.fault(at, Problem::NoCheck))?;
        let when = match self.expression(check)? {
            Some((CHECK, expression)) => expression,
            _ => return Err(self.fault(check[0].1.start, Problem::QuizForm)),
        };
        if let Some(more) = parts.next() {
            return Err(self.fault(more[0].1.start, Problem::QuizForm));
        }
        let files = self.files.clone();
        self.keep(at, Check { id: id.clone(), when, hints: Vec::new(), files, options: expressions });
        Ok(Block::Quiz { quiz: Quiz { id, html: question, options, several: word.is_some() } })
    }

    /// The name on the wire of a task or quiz with this name.
    fn id(&self, at: usize, name: &str) -> Result<String, Fault> {
        let usual = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(usual) {
            return Err(self.fault(at, Problem::TaskName));
        }
        let id = format!("{}/{name}", self.slug);
        if self.checks.iter().any(|placed| placed.check.id == id) {
            return Err(self.fault(at, Problem::SameTask { name: name.to_owned() }));
        }
        if self.checks.len() >= limits::TASKS {
            return Err(self.fault(at, Problem::TooManyTasks));
        }
        Ok(id)
    }

    fn keep(&mut self, at: usize, check: Check) {
        let line = self.line_of(at);
        self.checks.push(Placed { check, line });
    }

    /// The text of a task or quiz, as HTML.
    fn paragraph(&self, at: usize, part: Option<&[Spanned]>, otherwise: Problem) -> Result<String, Fault> {
        match part {
            Some(part @ [(Event::Start(Tag::Paragraph), _), ..]) => {
                self.check_prose(part)?;
                Ok(html(part.iter().map(|(event, _)| event.clone())))
            }
            Some([(_, range), ..]) => Err(self.fault(range.start, otherwise)),
            _ => Err(self.fault(at, otherwise)),
        }
    }

    /// The kind and the text of the expression, if this part is a block of one; it is known to compile.
    pub(super) fn expression(&self, part: &[Spanned]) -> Result<Option<(&'static str, String)>, Fault> {
        let [(Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))), range), ..] = part else { return Ok(None) };
        let mut words = info.split_whitespace();
        let kind = match words.next() {
            Some(CHECK) => CHECK,
            Some(HINT_WHEN) => HINT_WHEN,
            _ => return Ok(None),
        };
        if let Some(word) = words.next() {
            return Err(self.fault(range.start, Problem::UnknownFenceWord { word: word.to_owned() }));
        }
        let expression = text(part).trim_end().to_owned();
        // The first line of the block is the one after its fence.
        self.compiles(self.line_of(range.start) + 1, &expression)?;
        Ok(Some((kind, expression)))
    }

    fn compiles(&self, line: usize, expression: &str) -> Result<(), Fault> {
        let wrong = |fault: checks::Fault| (line + fault.line.max(1) - 1, Problem::Expression { message: fault.words });
        checks::check(expression).map(drop).map_err(wrong)
    }

    /// Each option of the list, as HTML, and its expression: the code at its end.
    fn options(&self, list: &[Spanned]) -> Result<(Vec<String>, Vec<String>), Fault> {
        let [(Event::Start(Tag::List(None)), range), items @ .., _] = list else {
            return Err(self.fault(list[0].1.start, Problem::QuizForm));
        };
        let options = parts(items).map(|item| self.option(item)).collect::<Result<Vec<_>, _>>()?;
        if !(2..=limits::OPTIONS).contains(&options.len()) {
            return Err(self.fault(range.start, Problem::OptionCount));
        }
        Ok(options.into_iter().unzip())
    }

    fn option(&self, item: &[Spanned]) -> Result<(String, String), Fault> {
        let wrong = || self.fault(item[0].1.start, Problem::OptionForm);
        self.check_prose(item)?;
        let inline = match item {
            [_, (Event::Start(Tag::Paragraph), _), inline @ .., (Event::End(TagEnd::Paragraph), _), _] => inline,
            [_, inline @ .., _] => inline,
            _ => return Err(wrong()),
        };
        let Some(((Event::Code(expression), range), text)) = inline.split_last() else { return Err(wrong()) };
        let is_inline = |(event, _): &Spanned| match event {
            Event::Start(tag) => {
                matches!(tag, Tag::Emphasis | Tag::Strong | Tag::Link { .. })
            }
            Event::End(tag) => matches!(tag, TagEnd::Emphasis | TagEnd::Strong | TagEnd::Link),
            Event::Text(_) | Event::Code(_) | Event::SoftBreak => true,
            _ => false,
        };
        if !text.iter().all(is_inline) {
            return Err(wrong());
        }
        let html = html(text.iter().map(|(event, _)| event.clone())).trim().to_owned();
        if html.is_empty() {
            return Err(wrong());
        }
        self.compiles(self.line_of(range.start), expression)?;
        Ok((html, expression.to_string()))
    }
}
