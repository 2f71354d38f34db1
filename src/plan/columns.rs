//! What a configuration says of a table's columns, looked up in the table: every name that is not
//! there, and every old value that the replica identity does not carry, is found here.

use super::shape::Shape;
use super::template::TemplatePlan;
use super::value::{Converter, ValueOptions};
use super::{PlanError, Strictness};
use crate::config::{Columns, Output, Part, Template, nearest};

/// What a template is for, which decides what its columns must be known for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Where a row is, or what it is called there: also the old value must be known, to remove it.
    Place(&'static str),
    /// What is written.
    Content(&'static str),
}

impl Purpose {
    fn option(self) -> &'static str {
        match self {
            Purpose::Place(option) | Purpose::Content(option) => option,
        }
    }
}

pub(super) fn place(shape: &Shape, output: &Output) -> String {
    let kind = output.structure.kind().name();
    match output.line {
        0 => format!("table {}, output {kind}", shape.display_name()),
        line => format!("line {line}, table {}, output {kind}", shape.display_name()),
    }
}

/// A mistake of the configuration.
pub(crate) fn mistake(shape: &Shape, output: &Output, what: String) -> PlanError {
    PlanError::Configuration { place: place(shape, output), what }
}

pub(crate) fn unknown_column(shape: &Shape, output: &Output, name: &str, where_: &str) -> PlanError {
    let names = shape.columns.iter().map(|column| column.name.as_str());
    let hint = match nearest(name, names) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    mistake(shape, output, format!("{where_} names the column `{name}`, which the table does not have{hint}"))
}

/// The columns that an output writes, and under which names.
pub(crate) fn selected(
    shape: &Shape,
    output: &Output,
    strictness: Strictness,
) -> Result<Vec<(usize, String)>, PlanError> {
    let find = |name: &str, what: &str| match (shape.index_of(name), strictness) {
        (Some(index), _) => Ok(Some(index)),
        (None, Strictness::Streaming) => Ok(None),
        (None, Strictness::Start) => Err(unknown_column(shape, output, name, what)),
    };
    match &output.columns {
        Columns::All => {
            Ok(shape.columns.iter().enumerate().map(|(i, column)| (i, column.name.clone())).collect())
        }
        Columns::Only(wanted) => {
            let mut columns = Vec::new();
            for (source, target) in wanted {
                if let Some(index) = find(source, "`columns`")? {
                    columns.push((index, target.clone()));
                }
            }
            Ok(columns)
        }
        Columns::Except(unwanted) => {
            for name in unwanted {
                find(name, "`exclude`")?;
            }
            let columns = shape.columns.iter().enumerate();
            Ok(columns
                .filter(|(_, column)| !unwanted.contains(&column.name))
                .map(|(i, column)| (i, column.name.clone()))
                .collect())
        }
    }
}

/// Compiles a template of an output.
pub(crate) fn template(
    shape: &Shape,
    output: &Output,
    template: &Template,
    purpose: Purpose,
) -> Result<TemplatePlan, PlanError> {
    let option = purpose.option();
    let mut plan = TemplatePlan::default();
    for part in template.parts() {
        match part {
            Part::Text(text) => plan.push_text(text.as_bytes()),
            Part::Table => plan.push_text(shape.template_name().as_bytes()),
            Part::Column(name) => {
                let named = || format!("`{option}`");
                let index =
                    shape.index_of(name).ok_or_else(|| unknown_column(shape, output, name, &named()))?;
                let column = &shape.columns[index];
                if let Purpose::Place(_) = purpose
                    && !column.identity
                {
                    return Err(PlanError::Identity {
                        place: place(shape, output),
                        what: format!(
                            "`{option}` needs the column `{name}`, whose old value an UPDATE or DELETE does not carry"
                        ),
                        table: shape.sql_name(),
                    });
                }
                // A score is a number, so a time in it is the time since the epoch.
                let kind = column.kind.clone();
                let converter = if option == "score" {
                    Converter::score(kind.clone(), output.values)
                } else {
                    Converter::new(kind.clone(), output.values)
                };
                plan.push_column(index, kind, converter, false);
            }
            Part::PrimaryKey => push_key(shape, output, option, &mut plan)?,
        }
    }
    // There is one for each table, for as long as the table is streamed.
    plan.shrink_to_fit();
    Ok(plan)
}

/// `{pk}`
pub(crate) fn primary_key(shape: &Shape, output: &Output) -> Result<TemplatePlan, PlanError> {
    let mut plan = TemplatePlan::default();
    push_key(shape, output, "key", &mut plan)?;
    Ok(plan)
}

fn push_key(shape: &Shape, output: &Output, option: &str, plan: &mut TemplatePlan) -> Result<(), PlanError> {
    if shape.key.is_empty() {
        return Err(PlanError::Identity {
            place: place(shape, output),
            what: format!(
                "the table has no primary key and no replica identity, so `{{pk}}` in its `{option}` is nothing \
                 (ALTER TABLE … ADD PRIMARY KEY is the better way)"
            ),
            table: shape.sql_name(),
        });
    }
    let composite = shape.key.len() > 1;
    for (place, &index) in shape.key.iter().enumerate() {
        if place > 0 {
            plan.push_text(b":");
        }
        let kind = shape.columns[index].kind.clone();
        // Whatever the options: two rows must not share a key because milliseconds were asked for.
        let converter = Converter::new(kind.clone(), ValueOptions::default());
        plan.push_column(index, kind, converter, composite);
    }
    Ok(())
}

/// Compiles the key of an output that has one for each row: rows must not share it.
pub(crate) fn row_key(
    shape: &Shape,
    output: &Output,
    strictness: Strictness,
) -> Result<TemplatePlan, PlanError> {
    let plan = template(shape, output, &output.key, Purpose::Place("key"))?;
    let tells_apart = strictness == Strictness::Streaming
        || plan.columns().any(|column| shape.key.contains(&column))
        || shape.unique.iter().any(|unique| unique.iter().all(|column| plan.columns().any(|c| c == *column)));
    if tells_apart {
        return Ok(plan);
    }
    Err(mistake(
        shape,
        output,
        format!(
            "`key` has no column of the table's key ({}) and not all columns of another unique index, so rows would \
             share a key; add `{{pk}}`",
            shape.key_names().join(", ")
        ),
    ))
}
