//! From the text of a `lesson.md` to a [`Lesson`] and its checks. What the format is, and why, is told in
//! `lessons/README.md`.

mod head;
mod task;

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use shared::lesson::{Block, Lesson, Step, TERMINALS};

use super::code::Steps;
use super::highlight::code_blocks;
use super::{Problem, limits};
use crate::checks::Check;
use head::Head;

/// A line of the file, and what is wrong there.
pub type Fault = (usize, Problem);

/// A check, and where its task or quiz begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The check.
    pub check: Check,
    /// The line of `lesson.md`, from 1.
    pub line: usize,
}

/// Reads a lesson, without its twins, and its checks, in the order of the text. `code_steps` is the code that a step may
/// name.
pub fn lesson(slug: &str, source: &str, code_steps: &Steps) -> Result<(Lesson, Vec<Placed>), Fault> {
    let Head { title, files, end } = Head::read(source)?;
    // Ranges are those of the whole file, so that faults are told with its line numbers.
    let parser = Parser::new_ext(&source[end..], Options::ENABLE_GFM).into_offset_iter();
    let mut depth = 0;
    let mut events: Vec<Spanned> = Vec::new();
    for (event, range) in parser.map(|(event, range)| (event, range.start + end..range.end + end)) {
        match &event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            _ => {}
        }
        if depth > limits::DEPTH {
            return Err((line_of(source, range.start), Problem::TooDeep));
        }
        events.push((event, range));
    }
    let mut reader = Reader { slug, source, code_steps, files, checks: Vec::new(), folds: 0 };
    let steps = reader.steps(&events)?;
    Ok((Lesson { slug: slug.to_owned(), title, steps, twins: Vec::new() }, reader.checks))
}

/// What pulldown-cmark reports, and the bytes of the file that it stems from.
type Spanned<'a> = (Event<'a>, Range<usize>);

struct Reader<'a> {
    slug: &'a str,
    source: &'a str,
    code_steps: &'a Steps,
    /// The head's paths.
    files: Vec<String>,
    /// Those of the tasks and quizzes so far.
    checks: Vec<Placed>,
    /// In how many folds this is.
    folds: usize,
}

/// The line of a byte of the file.
fn line_of(source: &str, at: usize) -> usize {
    1 + source[..at].matches('\n').count()
}

impl Reader<'_> {
    fn line_of(&self, at: usize) -> usize {
        line_of(self.source, at)
    }

    /// The fault at a byte of the file.
    fn fault(&self, at: usize, problem: Problem) -> Fault {
        (self.line_of(at), problem)
    }

    fn steps(&mut self, events: &[Spanned]) -> Result<Vec<Step>, Fault> {
        let mut steps: Vec<Step> = Vec::new();
        let parts: Vec<&[Spanned]> = parts(events).collect();
        let is_title =
            |part: &&[Spanned]| matches!(part[0].0, Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }));
        let mut groups = parts.as_slice();
        while let Some((title, rest)) = groups.split_first() {
            if !is_title(title) {
                return Err(self.fault(title[0].1.start, Problem::BeforeFirstStep));
            }
            let end = rest.iter().position(is_title).unwrap_or(rest.len());
            let (content, following) = rest.split_at(end);
            let step = self.step(title, content)?;
            if steps.iter().any(|earlier| earlier.slug == step.slug) {
                return Err(self.fault(title[0].1.start, Problem::SameStep { slug: step.slug }));
            }
            steps.push(step);
            groups = following;
        }
        if steps.is_empty() {
            return Err(self.fault(self.source.len(), Problem::NoSteps));
        }
        Ok(steps)
    }

    fn step(&mut self, heading: &[Spanned], content: &[&[Spanned]]) -> Result<Step, Fault> {
        self.check_prose(heading)?;
        let at = heading[0].1.start;
        let title = text(heading);
        let slug = address(&title);
        if slug.is_empty() {
            return Err(self.fault(at, Problem::UntitledStep));
        }
        let mut code = None;
        let mut shown = Vec::new();
        for part in content {
            match self.code_step(part)? {
                None => shown.push(*part),
                Some(_) if code.is_some() => return Err(self.fault(part[0].1.start, Problem::SecondCodeStep)),
                named => code = named,
            }
        }
        let blocks = self.blocks(&shown)?;
        if blocks.is_empty() {
            return Err(self.fault(at, Problem::EmptyStep));
        }
        let (code, line) = code.map_or((None, Vec::new()), |(name, line)| (Some(name), line));
        Ok(Step { slug, title, blocks, code, line })
    }

    /// The name and the texts in `<!-- code: NAME "TEXT" … -->`, if this part is that comment.
    fn code_step(&self, part: &[Spanned]) -> Result<Option<(String, Vec<String>)>, Fault> {
        let [(Event::Start(Tag::HtmlBlock), range), ..] = part else { return Ok(None) };
        let comment = self.source[range.clone()].trim();
        let name = comment.strip_prefix("<!-- code: ").and_then(|rest| rest.strip_suffix(" -->"));
        let inner = name.ok_or_else(|| self.fault(range.start, Problem::Html))?;
        let (name, texts) = inner.split_once('"').unwrap_or((inner, ""));
        let name = name.trim().to_owned();
        let Some(code) = self.code_steps.get(&name) else {
            return Err(self.fault(range.start, Problem::UnknownCodeStep { name }));
        };
        // Every other piece between quotation marks is what separates two texts.
        let texts = texts.split('"').step_by(2).filter(|text| !text.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        match texts.iter().find(|text| !code.contains(*text)) {
            Some(text) => Err(self.fault(range.start, Problem::UnknownLine { text: text.clone() })),
            None => Ok(Some((name, texts))),
        }
    }

    /// Commands and folds become blocks of their own; the parts between them are put together as prose.
    fn blocks(&mut self, parts: &[&[Spanned]]) -> Result<Vec<Block>, Fault> {
        let mut blocks = Vec::new();
        let mut prose = Vec::new();
        for part in parts {
            if let Some((name, _)) = self.expression(part)? {
                return Err(self.fault(part[0].1.start, Problem::StrayExpression { name: name.to_owned() }));
            }
            let block = match self.command(part)? {
                None => self.quotation(part)?,
                command => command,
            };
            match block {
                Some(block) => {
                    blocks.extend(render(&mut prose));
                    blocks.push(block);
                }
                None => {
                    self.check_prose(part)?;
                    prose.extend(part.iter().map(|(event, _)| event.clone()));
                }
            }
        }
        blocks.extend(render(&mut prose));
        Ok(blocks)
    }

    /// The command, if this part is a fenced code block whose info string has `run=TERMINAL`.
    fn command(&self, part: &[Spanned]) -> Result<Option<Block>, Fault> {
        let [(Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))), range), ..] = part else { return Ok(None) };
        let mut terminal = None;
        for word in info.split_whitespace().skip(1) {
            let name = word.strip_prefix("run=");
            let name =
                name.ok_or_else(|| self.fault(range.start, Problem::UnknownFenceWord { word: word.to_owned() }))?;
            if !TERMINALS.contains(&name) {
                return Err(self.fault(range.start, Problem::UnknownTerminal { name: name.to_owned() }));
            }
            terminal = Some(name.to_owned());
        }
        let Some(terminal) = terminal else { return Ok(None) };
        let text = text(part).trim_end().to_owned();
        if text.is_empty() {
            return Err(self.fault(range.start, Problem::EmptyCommand));
        }
        Ok(Some(Block::Command { terminal, text }))
    }

    /// The fold, task or quiz, if this part is a block quotation that begins with a line `[!HINT]` or its like.
    fn quotation(&mut self, part: &[Spanned]) -> Result<Option<Block>, Fault> {
        let [(Event::Start(Tag::BlockQuote(None)), range), inner @ .., _] = part else { return Ok(None) };
        let Some(marker) = marker(self.source, range) else { return Ok(None) };
        let name = self.source[marker.clone()].trim_start_matches("[!").trim_end_matches(']');
        // The marker is the beginning of the first paragraph, or all of it.
        let inner: Vec<Spanned> =
            inner.iter().filter(|(_, range)| range.end > marker.end && range.start != marker.end).cloned().collect();
        let inner = match inner.as_slice() {
            [(Event::Start(Tag::Paragraph), _), (Event::End(TagEnd::Paragraph), _), rest @ ..] => rest,
            whole => whole,
        };
        let (kind, words) = name.split_once(' ').unwrap_or((name, ""));
        let at = range.start;
        match (kind, words) {
            ("TASK" | "QUIZ", _) if self.folds > 0 => Err(self.fault(at, Problem::Nested)),
            ("TASK", _) => self.task(at, words, inner).map(Some),
            ("QUIZ", _) => self.quiz(at, words, inner).map(Some),
            ("HINT", "") => self.fold("Hint", inner).map(Some),
            ("ANSWER", "") => self.fold("Answer", inner).map(Some),
            ("SOLUTION", "") => self.fold("Solution", inner).map(Some),
            _ => Err(self.fault(at, Problem::UnknownFold { name: name.to_owned() })),
        }
    }

    fn fold(&mut self, title: &str, inner: &[Spanned]) -> Result<Block, Fault> {
        self.folds += 1;
        let blocks = self.blocks(&parts(inner).collect::<Vec<_>>())?;
        self.folds -= 1;
        Ok(Block::Fold { title: title.to_owned(), blocks })
    }

    /// Refuses what means something only by itself: a command, a fold, an expression.
    fn check_is_no_block_of_its_own(&self, part: &[Spanned]) -> Result<(), Fault> {
        let problem = match &part[0] {
            (Event::Start(Tag::BlockQuote(None)), range) if marker(self.source, range).is_some() => Problem::Nested,
            (Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))), _) if info.contains("run=") => Problem::Nested,
            _ => return Ok(()),
        };
        Err(self.fault(part[0].1.start, problem))
    }

    /// Refuses what the page would not show, or not as its author meant it.
    fn check_prose(&self, part: &[Spanned]) -> Result<(), Fault> {
        for (place, (event, range)) in part.iter().enumerate() {
            let nested = place > 0;
            let problem = match event {
                Event::Html(_) | Event::InlineHtml(_) => Problem::Html,
                Event::Start(Tag::Image { .. }) => Problem::Picture,
                Event::Start(Tag::Link { dest_url, .. }) if !dest_url.starts_with("https://") => {
                    Problem::Link { address: dest_url.to_string() }
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info)))
                    if nested && (info.contains("run=") || task::is_expression(info)) =>
                {
                    Problem::Nested
                }
                Event::Start(Tag::BlockQuote(None)) if nested && marker(self.source, range).is_some() => {
                    Problem::Nested
                }
                _ => continue,
            };
            return Err(self.fault(range.start, problem));
        }
        Ok(())
    }
}

/// Cuts events into the parts of the outermost level: a paragraph, a list, a code block, each with all that is in it.
fn parts<'e, 'a>(mut events: &'e [Spanned<'a>]) -> impl Iterator<Item = &'e [Spanned<'a>]> {
    std::iter::from_fn(move || {
        let mut depth = 0;
        let last = events.iter().position(|(event, _)| {
            match event {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        let (part, rest) = events.split_at(last + 1);
        events = rest;
        Some(part)
    })
}

/// Where the `[!WORD]` is that is all of the first line of a block quotation, if one is there.
fn marker(source: &str, quotation: &Range<usize>) -> Option<Range<usize>> {
    let line = source[quotation.clone()].lines().next()?;
    let word = line.trim_start_matches(['>', ' ']);
    let start = quotation.start + line.len() - word.len();
    let word = word.trim_end();
    let name = word.strip_prefix("[!")?.strip_suffix(']')?;
    (!name.contains(['[', ']'])).then(|| start..start + word.len())
}

/// The text of a heading or a code block.
fn text(part: &[Spanned]) -> String {
    let texts = part.iter().filter_map(|(event, _)| match event {
        Event::Text(text) | Event::Code(text) => Some(&**text),
        _ => None,
    });
    texts.collect()
}

/// The address of a step: its title in small letters, with a hyphen for whatever is neither letter nor digit.
fn address(title: &str) -> String {
    let words = title.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

/// The prose gathered so far as HTML; leaves `prose` empty.
fn render(prose: &mut Vec<Event>) -> Option<Block> {
    (!prose.is_empty()).then(|| Block::Prose { html: html(prose.drain(..)) })
}

/// Checked prose as HTML.
fn html<'a>(prose: impl IntoIterator<Item = Event<'a>>) -> String {
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, code_blocks(prose.into_iter()));
    // A learner who follows a link keeps the lab's page, and the other page gets no handle on it. The text `<a ` is
    // always the renderer's: in what authors write, it escapes every `<`.
    html.replace("<a ", "<a target=\"_blank\" rel=\"noopener noreferrer\" ")
}

#[cfg(test)]
mod tests;
