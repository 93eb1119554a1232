//! What is measured: texts of known numbers of tokens, made from a fixed seed.

use fastrand::Rng;
use qwen3_embedding::{EmbedOptions, Embedder, Prompt};

use crate::args::BenchArgs;
use crate::failure::Failure;
use crate::input;

/// Frequent English words, each a token of most vocabularies.
const WORDS: [&str; 48] = [
    "the", "water", "people", "city", "light", "house", "river", "music", "world", "story", "time",
    "small", "large", "green", "white", "black", "open", "close", "move", "turn", "find", "give",
    "hold", "keep", "long", "short", "high", "deep", "early", "late", "north", "south", "young",
    "old", "first", "last", "school", "field", "power", "money", "paper", "table", "heart", "hand",
    "night", "morning", "summer", "winter",
];

/// The longest text of the mixed case, and the shortest.
const MIXED: [usize; 2] = [5, 2000];

/// Queries where none are given, and the tokens of each without prompt and EOS.
const QUERIES: usize = 8;
const QUERY_TOKENS: usize = 8;

/// One row of the report.
pub(super) struct Case {
    pub(super) name: String,
    /// Texts of a request, and tokens of each where they are all the same.
    pub(super) batch: usize,
    pub(super) length: Option<usize>,
    /// Run one after the other in each round.
    pub(super) requests: Vec<Vec<String>>,
    pub(super) options: EmbedOptions,
}

/// All cases that were asked for.
pub(super) fn cases(args: &BenchArgs, embedder: &Embedder) -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    for length in args.lengths.iter().map(|length| length.get()) {
        for batch in args.batch.iter().map(|batch| batch.get()) {
            cases.push(Case {
                name: format!("{batch}x{length}"),
                batch,
                length: Some(length),
                requests: vec![equal_texts(embedder, batch, length)?],
                options: EmbedOptions::default(),
            });
        }
    }
    if args.mixed > 0 {
        cases.push(Case {
            name: "mixed".to_owned(),
            batch: args.mixed,
            length: None,
            requests: vec![texts(embedder, &long_tailed(args.mixed, embedder))?],
            options: EmbedOptions::default(),
        });
    }
    let queries = match &args.queries {
        Some(path) => input::read(path)?,
        None => queries(embedder)?,
    };
    cases.push(Case {
        name: "queries".to_owned(),
        batch: 1,
        length: None,
        requests: queries.into_iter().map(|query| vec![query]).collect(),
        options: EmbedOptions::default().prompt(Prompt::Query),
    });
    Ok(cases)
}

/// Short queries, all of a length.
pub(super) fn queries(embedder: &Embedder) -> Result<Vec<String>, Failure> {
    texts(embedder, &[QUERY_TOKENS + 1; QUERIES])
}

/// Queries of as many words, for where nothing counts tokens.
pub(super) fn queries_of_words(count: usize) -> Vec<String> {
    let mut rng = Rng::with_seed(3);
    let mut word = || WORDS[rng.usize(..WORDS.len())];
    let mut query = |_| {
        (0..QUERY_TOKENS)
            .map(|_| word())
            .collect::<Vec<_>>()
            .join(" ")
    };
    (0..count).map(&mut query).collect()
}

/// Lengths of which half are below 25 and one in fifty above 1,500, whatever their number.
fn long_tailed(count: usize, embedder: &Embedder) -> Vec<usize> {
    let [shortest, longest] = MIXED;
    let longest = longest.min(embedder.config().context());
    let ratio = longest as f64 / shortest as f64;
    let mut rng = Rng::with_seed(1);
    let length = |_| (shortest as f64 * ratio.powf(rng.f64().powi(2))) as usize;
    (0..count).map(length).collect()
}

/// A text for each length. None begins as another does, so that no work can be shared.
fn texts(embedder: &Embedder, lengths: &[usize]) -> Result<Vec<String>, Failure> {
    let mut rng = Rng::with_seed(2);
    let texts = lengths.iter().zip(0..);
    texts
        .map(|(&length, number)| text(embedder, &mut rng, number, length))
        .collect()
}

/// Texts of `length` tokens each.
pub(crate) fn equal_texts(
    embedder: &Embedder,
    batch: usize,
    length: usize,
) -> Result<Vec<String>, Failure> {
    texts(embedder, &vec![length; batch])
}

/// Words that are `tokens` tokens together with the EOS, or the nearest number below.
fn text(
    embedder: &Embedder,
    rng: &mut Rng,
    number: usize,
    tokens: usize,
) -> Result<String, Failure> {
    let count = |text: &str| -> Result<usize, Failure> {
        let ids = embedder.token_ids(&[text], &EmbedOptions::default())?;
        Ok(ids[0].len())
    };
    // The first two differ from text to text; a word is at least a token.
    let first = [number % WORDS.len(), number / WORDS.len() % WORDS.len()];
    let others = (first.len()..tokens).map(|_| rng.usize(..WORDS.len()));
    let words: Vec<&str> = first.into_iter().chain(others).map(|n| WORDS[n]).collect();
    let (mut fits, mut beyond) = (0, words.len().min(tokens) + 1);
    while fits + 1 < beyond {
        let middle = fits.midpoint(beyond);
        match count(&words[..middle].join(" "))? <= tokens {
            true => fits = middle,
            false => beyond = middle,
        }
    }
    let mut text = words[..fits].join(" ");
    loop {
        let longer = format!("{text} a");
        if count(&longer)? > tokens {
            return Ok(text);
        }
        text = longer;
    }
}
