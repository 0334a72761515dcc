//! The rows of one run as a Parquet file, and back.
//!
//! Columns: `run, topology, topology_hash, version, seed, digest`, those that were set, then `object, metric, value, text`: the
//! long format of `anyedge sim --csv`. A figure is in `value`, true and false as 1 and 0; words are in `text`. How long the
//! run took on the wall is left out, so that a file is the same to the byte whoever makes it.
//!
//! The footer tells the rest under two keys: what the sweep is, and which service levels the run kept.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyedge_sim::report::Report;
use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use serde::{Deserialize, Serialize};

use super::axis::{Cell, Kind};
use super::folder::Identity;
use crate::results::rows::{self, Figure, Row};

/// What every row begins with, and what every row ends with; those that were set are between.
const OWN: [&str; 6] = [
    "run",
    "topology",
    "topology_hash",
    "version",
    "seed",
    "digest",
];
const FIGURES: [&str; 4] = ["object", "metric", "value", "text"];
/// What no two runs of one world have in common.
const OF_THE_PROCESS: [&str; 2] = ["wall_s", "memory_peak_bytes"];
/// Keys of the footer.
const SWEEP_KEY: &str = "anyedge.sweep";
const LEVELS_KEY: &str = "anyedge.slos";

/// Whether a column has that name already.
pub(super) fn is_reserved(name: &str) -> bool {
    OWN.iter().chain(&FIGURES).any(|own| *own == name)
}

/// A service level of a run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Level {
    pub(super) of: String,
    pub(super) expect: String,
    pub(super) kept: bool,
}

/// The service levels of a run, in the order of its file.
pub(super) fn levels(report: &Report) -> Vec<Level> {
    let levels = report.slos.iter().map(|slo| Level {
        of: slo.of.clone(),
        expect: slo.expect.clone(),
        kept: slo.kept,
    });
    levels.collect()
}

/// The file of a run, in memory: `cells` are what the columns of `identity` are set to.
pub(super) fn bytes(
    run: &str,
    identity: &Identity,
    cells: &[Cell],
    report: &Report,
) -> Result<Vec<u8>, String> {
    let rows = rows::of(report)?;
    let rows: Vec<Row> = rows
        .into_iter()
        .filter(|row| row.object != "run" || !OF_THE_PROCESS.contains(&&*row.metric))
        .collect();
    written(run, identity, cells, report, &rows).map_err(|error| error.to_string())
}

fn written(
    run: &str,
    identity: &Identity,
    cells: &[Cell],
    report: &Report,
    rows: &[Row],
) -> Result<Vec<u8>, ParquetError> {
    let other = |error: serde_json::Error| ParquetError::General(error.to_string());
    let footer = vec![
        KeyValue::new(
            SWEEP_KEY.to_owned(),
            serde_json::to_string(identity).map_err(other)?,
        ),
        KeyValue::new(
            LEVELS_KEY.to_owned(),
            serde_json::to_string(&levels(report)).map_err(other)?,
        ),
    ];
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("anyedge {}", report.version))
        .set_key_value_metadata(Some(footer));
    let mut file = SerializedFileWriter::new(
        Vec::new(),
        Arc::new(schema(identity)?),
        Arc::new(properties.build()),
    )?;
    fill(
        Columns {
            group: file.next_row_group()?,
            rows: rows.len(),
        },
        run,
        cells,
        report,
        rows,
    )?;
    file.into_inner()
}

/// All columns, in the order of the schema.
fn fill(
    mut group: Columns<'_>,
    run: &str,
    cells: &[Cell],
    report: &Report,
    rows: &[Row],
) -> Result<(), ParquetError> {
    let seed = Cell::Integer(report.seed.cast_signed());
    let text = |text: &str| Cell::Text(text.to_owned());
    let own = [
        text(run),
        text(&report.topology),
        text(&report.topology_hash),
        text(report.version),
        seed,
        text(&report.digest),
    ];
    for cell in own.iter().chain(cells) {
        group.same(cell)?;
    }
    group.texts(rows.iter().map(|row| Some(row.object.as_str())), false)?;
    group.texts(rows.iter().map(|row| Some(row.metric.as_str())), false)?;
    group.numbers(rows)?;
    let words = rows.iter().map(|row| match &row.figure {
        Figure::Text(text) => Some(text.as_str()),
        Figure::Truth(_) | Figure::Number(_) => None,
    });
    group.texts(words, true)?;
    group.group.close()?;
    Ok(())
}

fn schema(identity: &Identity) -> Result<Type, ParquetError> {
    let mut columns = Vec::new();
    let mut add = |name: &str, physical, converted, repetition| {
        let column = Type::primitive_type_builder(name, physical)
            .with_converted_type(converted)
            .with_repetition(repetition)
            .build();
        column.map(|column| columns.push(Arc::new(column)))
    };
    let (text, needed) = (
        (Physical::BYTE_ARRAY, ConvertedType::UTF8),
        Repetition::REQUIRED,
    );
    for name in OWN {
        match name {
            "seed" => add(name, Physical::INT64, ConvertedType::UINT_64, needed)?,
            name => add(name, text.0, text.1, needed)?,
        }
    }
    for column in &identity.columns {
        let (physical, converted) = match column.kind {
            Kind::Truth => (Physical::BOOLEAN, ConvertedType::NONE),
            Kind::Integer => (Physical::INT64, ConvertedType::NONE),
            Kind::Text => text,
            _ => (Physical::DOUBLE, ConvertedType::NONE),
        };
        add(&column.key, physical, converted, needed)?;
    }
    for name in ["object", "metric"] {
        add(name, text.0, text.1, needed)?;
    }
    let optional = Repetition::OPTIONAL;
    add("value", Physical::DOUBLE, ConvertedType::NONE, optional)?;
    add("text", text.0, text.1, optional)?;
    Type::group_type_builder("figures")
        .with_fields(columns)
        .build()
}

/// The columns of a file that is being written, one after the other.
struct Columns<'f> {
    group: SerializedRowGroupWriter<'f, Vec<u8>>,
    rows: usize,
}

impl Columns<'_> {
    fn write<T: DataType>(
        &mut self,
        values: &[T::T],
        defined: Option<&[i16]>,
    ) -> Result<(), ParquetError> {
        let column = self.group.next_column()?;
        let mut column =
            column.ok_or_else(|| ParquetError::General("no column is left".to_owned()))?;
        column.typed::<T>().write_batch(values, defined, None)?;
        column.close()
    }

    /// A column with the same in every row.
    fn same(&mut self, cell: &Cell) -> Result<(), ParquetError> {
        let rows = self.rows;
        match cell {
            Cell::Truth(truth) => self.write::<BoolType>(&vec![*truth; rows], None),
            Cell::Integer(integer) => self.write::<Int64Type>(&vec![*integer; rows], None),
            Cell::Number(number) => self.write::<DoubleType>(&vec![*number; rows], None),
            Cell::Text(text) => {
                let text = ByteArray::from(text.as_str());
                self.write::<ByteArrayType>(&vec![text; rows], None)
            }
        }
    }

    fn texts<'t>(
        &mut self,
        texts: impl Iterator<Item = Option<&'t str>> + Clone,
        is_optional: bool,
    ) -> Result<(), ParquetError> {
        let defined: Vec<i16> = texts
            .clone()
            .map(|text| i16::from(text.is_some()))
            .collect();
        let values: Vec<ByteArray> = texts.flatten().map(ByteArray::from).collect();
        self.write::<ByteArrayType>(&values, is_optional.then_some(&defined))
    }

    fn numbers(&mut self, rows: &[Row]) -> Result<(), ParquetError> {
        let figures = rows.iter().map(|row| match &row.figure {
            Figure::Truth(truth) => Some(f64::from(u8::from(*truth))),
            Figure::Number(number) => number.as_f64(),
            Figure::Text(_) => None,
        });
        let defined: Vec<i16> = figures.clone().map(|it| i16::from(it.is_some())).collect();
        let values: Vec<f64> = figures.flatten().collect();
        self.write::<DoubleType>(&values, Some(&defined))
    }
}

/// A run's file, open.
pub(crate) struct RowSet {
    file: SerializedFileReader<File>,
    columns: Vec<String>,
}

impl RowSet {
    /// Opens a file; its footer has to be whole.
    pub(crate) fn open(path: &Path) -> Result<RowSet, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(|error| told(&error))?;
        let file = SerializedFileReader::new(file).map_err(|error| told(&error))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let columns = schema.columns().iter().map(|it| it.name().to_owned());
        let columns = columns.collect();
        Ok(RowSet { file, columns })
    }

    /// The names of the columns that are the same in all rows of a run: who it is, and what was set.
    pub(crate) fn of_the_run(&self) -> impl Iterator<Item = &str> + Clone {
        let names = self.columns.iter().map(String::as_str);
        names.filter(|name| !FIGURES.contains(name))
    }

    /// What the sweep is.
    pub(crate) fn identity(&self) -> Option<Identity> {
        serde_json::from_str(self.footer(SWEEP_KEY)?).ok()
    }

    fn footer(&self, key: &str) -> Option<&str> {
        let own = self.file.metadata().file_metadata().key_value_metadata()?;
        let entry = own.iter().find(|entry| entry.key == key)?;
        entry.value.as_deref()
    }

    /// A column by its name: all of its rows, or the first alone.
    pub(crate) fn column(
        &self,
        name: &str,
        first_alone: bool,
    ) -> Result<Vec<Option<Cell>>, String> {
        let place = self.columns.iter().position(|own| own == name);
        let place = place.ok_or_else(|| format!("no column `{name}`"))?;
        let mut cells = Vec::new();
        for group in 0..self.file.num_row_groups() {
            let read = || {
                let group = self.file.get_row_group(group)?;
                let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
                let rows = if first_alone { rows.min(1) } else { rows };
                cells_of(group.get_column_reader(place)?, rows)
            };
            let read = read().map_err(|error: ParquetError| format!("column `{name}`: {error}"))?;
            cells.extend(read);
            if first_alone && !cells.is_empty() {
                break;
            }
        }
        Ok(cells)
    }

    /// The service levels of the run, if all of the file can be read and is of that run.
    pub(super) fn verify(&self, run: &str) -> Option<Vec<Level>> {
        let whole = |name: &String| self.column(name, false).ok();
        let columns: Option<Vec<Vec<Option<Cell>>>> = self.columns.iter().map(whole).collect();
        let columns = columns?;
        let rows = columns.first()?.len();
        let own = Some(Cell::Text(run.to_owned()));
        let is_own = rows > 0 && columns[0].iter().all(|cell| *cell == own);
        let is_whole = columns.iter().all(|column| column.len() == rows);
        let levels = self.footer(LEVELS_KEY)?;
        (is_own && is_whole).then(|| serde_json::from_str(levels).ok())?
    }
}

fn cells_of(column: ColumnReader, rows: usize) -> Result<Vec<Option<Cell>>, ParquetError> {
    let text = |bytes: ByteArray| Cell::Text(String::from_utf8_lossy(bytes.data()).into_owned());
    match column {
        ColumnReader::BoolColumnReader(column) => read(column, rows, Cell::Truth),
        ColumnReader::Int64ColumnReader(column) => read(column, rows, Cell::Integer),
        ColumnReader::DoubleColumnReader(column) => read(column, rows, Cell::Number),
        ColumnReader::ByteArrayColumnReader(column) => read(column, rows, text),
        _ => Err(ParquetError::General(
            "of a kind that no sweep writes".to_owned(),
        )),
    }
}

fn read<T: DataType>(
    mut column: ColumnReaderImpl<T>,
    rows: usize,
    cell: impl Fn(T::T) -> Cell,
) -> Result<Vec<Option<Cell>>, ParquetError> {
    let mut defined = Vec::new();
    let mut values = Vec::new();
    let (read, _, levels) = column.read_records(rows, Some(&mut defined), None, &mut values)?;
    if read < rows {
        return Err(ParquetError::General(format!("{read} rows of {rows}")));
    }
    // A column that is never empty has no levels.
    let mut values = values.into_iter().map(cell);
    if defined.len() < levels {
        return Ok(values.map(Some).collect());
    }
    let cells = defined
        .iter()
        .map(|level| (*level > 0).then(|| values.next()).flatten());
    Ok(cells.collect())
}
