//! From the text of a `lesson.md` to a [`Lesson`]. What the format is, and why, is told in `lessons/README.md`.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use serde::Deserialize;
use shared::lesson::{Block, Lesson, Step, TERMINALS};

use super::code::Steps;
use super::highlight::code_blocks;
use super::{Error, Problem};

/// Reads a lesson, without its twins. `code_steps` is the code that a step may name.
pub fn lesson(slug: &str, source: &str, code_steps: &Steps) -> Result<Lesson, Error> {
    let reader = Reader { slug, source, code_steps };
    let (title, body) = reader.head()?;
    // Ranges are those of the whole file, so that faults are told with its line numbers.
    let events: Vec<Spanned> = Parser::new_ext(&source[body..], Options::ENABLE_GFM)
        .into_offset_iter()
        .map(|(event, range)| (event, range.start + body..range.end + body))
        .collect();
    Ok(Lesson { slug: slug.to_owned(), title, steps: reader.steps(&events)?, twins: Vec::new() })
}

/// What pulldown-cmark reports, and the bytes of the file that it stems from.
type Spanned<'a> = (Event<'a>, Range<usize>);

/// The head of a lesson.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    title: String,
}

struct Reader<'a> {
    slug: &'a str,
    source: &'a str,
    code_steps: &'a Steps,
}

impl Reader<'_> {
    /// The fault at a byte of the file.
    fn error(&self, at: usize, problem: Problem) -> Error {
        let line = 1 + self.source[..at].matches('\n').count();
        Error { lesson: self.slug.to_owned(), file: "lesson.md".to_owned(), line, problem }
    }

    /// The title, and where the body begins.
    fn head(&self) -> Result<(String, usize), Error> {
        const OPEN: &str = "+++\n";
        const CLOSE: &str = "\n+++\n";
        let no_head = || self.error(0, Problem::NoHead);
        let inner = self.source.strip_prefix(OPEN).ok_or_else(no_head)?;
        let (toml, _) = inner.split_once(CLOSE).ok_or_else(no_head)?;
        let head: Head = toml::from_str(toml).map_err(|error| {
            let at = OPEN.len() + error.span().map_or(0, |span| span.start);
            self.error(at, Problem::BadHead { message: error.message().to_owned() })
        })?;
        if head.title.trim().is_empty() {
            return Err(self.error(OPEN.len(), Problem::EmptyTitle));
        }
        Ok((head.title, OPEN.len() + toml.len() + CLOSE.len()))
    }

    fn steps(&self, events: &[Spanned]) -> Result<Vec<Step>, Error> {
        let mut steps: Vec<Step> = Vec::new();
        let parts: Vec<&[Spanned]> = parts(events).collect();
        let is_title =
            |part: &&[Spanned]| matches!(part[0].0, Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }));
        let mut groups = parts.as_slice();
        while let Some((title, rest)) = groups.split_first() {
            if !is_title(title) {
                return Err(self.error(title[0].1.start, Problem::BeforeFirstStep));
            }
            let end = rest.iter().position(is_title).unwrap_or(rest.len());
            let (content, following) = rest.split_at(end);
            let step = self.step(title, content)?;
            if steps.iter().any(|earlier| earlier.slug == step.slug) {
                return Err(self.error(title[0].1.start, Problem::SameStep { slug: step.slug }));
            }
            steps.push(step);
            groups = following;
        }
        if steps.is_empty() {
            return Err(self.error(self.source.len(), Problem::NoSteps));
        }
        Ok(steps)
    }

    fn step(&self, heading: &[Spanned], content: &[&[Spanned]]) -> Result<Step, Error> {
        self.check_prose(heading)?;
        let at = heading[0].1.start;
        let title = text(heading);
        let slug = address(&title);
        if slug.is_empty() {
            return Err(self.error(at, Problem::UntitledStep));
        }
        let mut code = None;
        let mut shown = Vec::new();
        for part in content {
            match self.code_step(part)? {
                None => shown.push(*part),
                Some(_) if code.is_some() => return Err(self.error(part[0].1.start, Problem::SecondCodeStep)),
                named => code = named,
            }
        }
        let blocks = self.blocks(&shown)?;
        if blocks.is_empty() {
            return Err(self.error(at, Problem::EmptyStep));
        }
        let (code, line) = code.map_or((None, Vec::new()), |(name, line)| (Some(name), line));
        Ok(Step { slug, title, blocks, code, line })
    }

    /// The name and the texts in `<!-- code: NAME "TEXT" … -->`, if this part is that comment.
    fn code_step(&self, part: &[Spanned]) -> Result<Option<(String, Vec<String>)>, Error> {
        let [(Event::Start(Tag::HtmlBlock), range), ..] = part else { return Ok(None) };
        let comment = self.source[range.clone()].trim();
        let name = comment.strip_prefix("<!-- code: ").and_then(|rest| rest.strip_suffix(" -->"));
        let inner = name.ok_or_else(|| self.error(range.start, Problem::Html))?;
        let (name, texts) = inner.split_once('"').unwrap_or((inner, ""));
        let name = name.trim().to_owned();
        let Some(code) = self.code_steps.get(&name) else {
            return Err(self.error(range.start, Problem::UnknownCodeStep { name }));
        };
        // Every other piece between quotation marks is what separates two texts.
        let texts = texts.split('"').step_by(2).filter(|text| !text.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        match texts.iter().find(|text| !code.contains(*text)) {
            Some(text) => Err(self.error(range.start, Problem::UnknownLine { text: text.clone() })),
            None => Ok(Some((name, texts))),
        }
    }

    /// Commands and folds become blocks of their own; the parts between them are put together as prose.
    fn blocks(&self, parts: &[&[Spanned]]) -> Result<Vec<Block>, Error> {
        let mut blocks = Vec::new();
        let mut prose = Vec::new();
        for part in parts {
            let block = match self.command(part)? {
                None => self.fold(part)?,
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
    fn command(&self, part: &[Spanned]) -> Result<Option<Block>, Error> {
        let [(Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))), range), ..] = part else { return Ok(None) };
        let mut terminal = None;
        for word in info.split_whitespace().skip(1) {
            let name = word.strip_prefix("run=");
            let name =
                name.ok_or_else(|| self.error(range.start, Problem::UnknownFenceWord { word: word.to_owned() }))?;
            if !TERMINALS.contains(&name) {
                return Err(self.error(range.start, Problem::UnknownTerminal { name: name.to_owned() }));
            }
            terminal = Some(name.to_owned());
        }
        let Some(terminal) = terminal else { return Ok(None) };
        let text = text(part).trim_end().to_owned();
        if text.is_empty() {
            return Err(self.error(range.start, Problem::EmptyCommand));
        }
        Ok(Some(Block::Command { terminal, text }))
    }

    /// The fold, if this part is a block quotation that begins with a line `[!HINT]` or its like.
    fn fold(&self, part: &[Spanned]) -> Result<Option<Block>, Error> {
        let [(Event::Start(Tag::BlockQuote(None)), range), inner @ .., _] = part else { return Ok(None) };
        let Some(marker) = marker(self.source, range) else { return Ok(None) };
        let title = match &self.source[marker.clone()] {
            "[!HINT]" => "Hint",
            "[!ANSWER]" => "Answer",
            "[!SOLUTION]" => "Solution",
            other => {
                let name = other.trim_matches(['[', '!', ']']).to_owned();
                return Err(self.error(range.start, Problem::UnknownFold { name }));
            }
        };
        // The marker is the beginning of the first paragraph, or all of it.
        let inner: Vec<Spanned> =
            inner.iter().filter(|(_, range)| range.end > marker.end && range.start != marker.end).cloned().collect();
        let inner = match inner.as_slice() {
            [(Event::Start(Tag::Paragraph), _), (Event::End(TagEnd::Paragraph), _), rest @ ..] => rest,
            whole => whole,
        };
        let inner_parts: Vec<_> = parts(inner).collect();
        Ok(Some(Block::Fold { title: title.to_owned(), blocks: self.blocks(&inner_parts)? }))
    }

    /// Refuses what the page would not show, or not as its author meant it.
    fn check_prose(&self, part: &[Spanned]) -> Result<(), Error> {
        for (place, (event, range)) in part.iter().enumerate() {
            let nested = place > 0;
            let problem = match event {
                Event::Html(_) | Event::InlineHtml(_) => Problem::Html,
                Event::Start(Tag::Image { .. }) => Problem::Picture,
                Event::Start(Tag::Link { dest_url, .. }) if !dest_url.starts_with("https://") => {
                    Problem::Link { address: dest_url.to_string() }
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if nested && info.contains("run=") => {
                    Problem::Nested
                }
                Event::Start(Tag::BlockQuote(None)) if nested && marker(self.source, range).is_some() => {
                    Problem::Nested
                }
                _ => continue,
            };
            return Err(self.error(range.start, problem));
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
    name.chars().all(|letter| letter.is_ascii_alphanumeric()).then(|| start..start + word.len())
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
    if prose.is_empty() {
        return None;
    }
    let mut html = String::new();
    html::push_html(&mut html, code_blocks(prose.drain(..)));
    // A learner who follows a link keeps the lab's page, and the other page gets no handle on it. The text `<a ` is
    // always the renderer's: in what authors write, it escapes every `<`.
    let html = html.replace("<a ", "<a target=\"_blank\" rel=\"noopener noreferrer\" ");
    Some(Block::Prose { html })
}

#[cfg(test)]
mod tests;
