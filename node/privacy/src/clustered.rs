//! The physical operator around the [`Kernel`]: one pass over partitions of rows in the order of
//! their patients. DataFusion sees to both, by what the operator requires of its input: where the
//! source declares them (a snapshot does) nothing is moved or sorted.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, Decimal128Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexRequirement, OrderingRequirements, Partitioning, PhysicalExpr,
    PhysicalSortRequirement,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties as _,
    InputDistributionRequirements, PlanProperties,
};
use futures::TryStreamExt as _;
use ward_schemas::data_key::DataKeyType;
use ward_schemas::plan::TablePlan;

use crate::bound::SelectionKey;
use crate::by_value::{self, ByValue, Values};
use crate::lanes::{Lanes, Reader};
use crate::measure::{Query, Tally};
use crate::stream::{Kernel, Partition};

/// Bounds each patient and adds up: one batch a partition, of one `Decimal128` column, with the totals of
/// one tally behind those of another; where a key comes from data, a batch of [`by_value::schema`].
#[derive(Debug)]
pub(crate) struct BoundedExec {
    input: Arc<dyn ExecutionPlan>,
    bounding: Arc<Bounding>,
    properties: Arc<PlanProperties>,
}

/// What the operator does to each partition.
#[derive(Debug)]
struct Bounding {
    table: TablePlan,
    tallies: Vec<Tally>,
    reader: Reader,
    key: SelectionKey,
    /// Where a key comes from data: the type of its values, which are in the last column.
    from_data: Option<DataKeyType>,
    schema: SchemaRef,
    /// First and last patient of the partitions that are done.
    ranges: Mutex<Vec<(i64, i64)>>,
}

impl BoundedExec {
    /// The operator over rows of patient, keys and inputs, as [`crate::lower::rows`] makes them.
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        table: &TablePlan,
        query: &Query,
        key: &SelectionKey,
    ) -> Result<Self> {
        let Some(reader) = Reader::new(table, query) else {
            return internal_err!("a key domain of mixed types");
        };
        let column = Field::new("totals", DataType::Decimal128(38, 0), false);
        let from_data = table.data_key.as_ref().map(|key| key.from_data);
        let bounding = Bounding {
            table: table.clone(),
            tallies: query.tallies.clone(),
            reader,
            key: key.clone(),
            schema: match from_data {
                None => Arc::new(Schema::new(vec![column])),
                Some(_) => by_value::schema(query.tallies.len()),
            },
            from_data,
            ranges: Mutex::default(),
        };
        Ok(Self::over(input, Arc::new(bounding)))
    }

    fn over(input: Arc<dyn ExecutionPlan>, bounding: Arc<Bounding>) -> Self {
        let partitions = input.properties().output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&bounding.schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            input,
            bounding,
            properties: Arc::new(properties),
        }
    }

    fn patient(&self) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(self.input.schema().field(0).name(), 0))
    }
}

impl Bounding {
    async fn partition(
        self: Arc<Self>,
        mut rows: SendableRecordBatchStream,
        ranged: bool,
    ) -> Result<RecordBatch> {
        let mut pass = self.pass();
        let mut lanes = Lanes::default();
        while let Some(batch) = rows.try_next().await? {
            let patients = batch.column(0).as_primitive::<Int64Type>();
            if patients.null_count() > 0 {
                return exec_err!("a row without a patient");
            }
            self.reader.read(&batch, &mut lanes);
            pass.read(patients.values(), &lanes, &batch)?;
        }
        let (patients, batch) = match pass {
            Pass::Cells(kernel) => {
                let partition = kernel.finish();
                (partition.patients, self.batch(&partition)?)
            }
            Pass::Values(kernel, _) => {
                let (patients, totals) = kernel.finish();
                (patients, by_value::batch(&self.schema, totals)?)
            }
        };
        if let Some(patients) = patients.filter(|_| ranged) {
            self.claim(patients)?;
        }
        Ok(batch)
    }

    fn pass(&self) -> Pass {
        let (limits, reads, key) = (
            self.table.contribution,
            self.reader.reads(),
            self.key.clone(),
        );
        match self.from_data {
            None => Pass::Cells(Kernel::new(
                limits,
                &self.tallies,
                self.table.cells(),
                &reads,
                key,
            )),
            Some(from_data) => Pass::Values(
                ByValue::new(limits, &self.tallies, self.reader.cells(), &reads, key),
                from_data,
            ),
        }
    }

    /// A source that declares ranges is taken at its word only if no two of them overlap.
    fn claim(&self, (first, last): (i64, i64)) -> Result<()> {
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        if ranges.iter().any(|(f, l)| *f <= last && first <= *l) {
            return exec_err!("a patient spans two partitions");
        }
        ranges.push((first, last));
        Ok(())
    }

    fn batch(&self, partition: &Partition) -> Result<RecordBatch> {
        let column = Decimal128Array::from(partition.totals.concat());
        let column = Arc::new(column.with_precision_and_scale(38, 0)?);
        Ok(RecordBatch::try_new(
            Arc::clone(&self.schema),
            vec![column],
        )?)
    }
}

/// The pass over a partition.
enum Pass {
    Cells(Kernel),
    Values(ByValue, DataKeyType),
}

impl Pass {
    fn read(&mut self, patients: &[i64], lanes: &Lanes, batch: &RecordBatch) -> Result<()> {
        let read = match self {
            Self::Cells(kernel) => kernel.read(patients, lanes),
            Self::Values(kernel, from_data) => {
                let column = batch.columns().last();
                let values = column.and_then(|column| Values::new(*from_data, column));
                let Some(values) = values else {
                    return internal_err!("no column of the key's values");
                };
                kernel.read(patients, lanes, &values)
            }
        };
        read.or_else(|error| exec_err!("{error}"))
    }
}

impl DisplayAs for BoundedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundedExec")
    }
}

impl ExecutionPlan for BoundedExec {
    fn name(&self) -> &str {
        "BoundedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::KeyPartitioned(vec![self.patient()])])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let ascending = arrow::compute::SortOptions::default();
        let sorted = PhysicalSortRequirement::new(self.patient(), Some(ascending));
        vec![LexRequirement::new([sorted]).map(OrderingRequirements::new)]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::over(input, Arc::clone(&self.bounding)))),
            _ => internal_err!("BoundedExec has one child"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let ranged = matches!(self.input.output_partitioning(), Partitioning::Range(_));
        let bounded = Arc::clone(&self.bounding).partition(rows, ranged);
        let stream = futures::stream::once(bounded);
        let schema = Arc::clone(&self.bounding.schema);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}
