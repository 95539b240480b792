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
use ward_schemas::plan::TablePlan;

use crate::bound::SelectionKey;
use crate::lanes::{Lanes, Reader};
use crate::measure::{Query, Tally};
use crate::stream::{Kernel, Partition};

/// Bounds each patient and adds up: one batch a partition, one row a cell, one `Decimal128` column
/// a tally.
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
        let column = |(i, _)| Field::new(format!("t{i}"), DataType::Decimal128(38, 0), false);
        let columns: Vec<_> = query.tallies.iter().enumerate().map(column).collect();
        let bounding = Bounding {
            table: table.clone(),
            tallies: query.tallies.clone(),
            reader,
            key: key.clone(),
            schema: Arc::new(Schema::new(columns)),
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
        let mut kernel = Kernel::new(
            self.table.contribution,
            &self.tallies,
            self.table.cells(),
            &self.reader.reads(),
            self.key.clone(),
        );
        let mut lanes = Lanes::default();
        while let Some(batch) = rows.try_next().await? {
            let patients = batch.column(0).as_primitive::<Int64Type>();
            if patients.null_count() > 0 {
                return exec_err!("a row without a patient");
            }
            self.reader.read(&batch, &mut lanes);
            if let Err(error) = kernel.read(patients.values(), &lanes) {
                return exec_err!("{error}");
            }
        }
        let partition = kernel.finish();
        if let Some(patients) = partition.patients.filter(|_| ranged) {
            self.claim(patients)?;
        }
        self.batch(partition)
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

    fn batch(&self, partition: Partition) -> Result<RecordBatch> {
        let columns = partition.totals.into_iter().map(|totals| {
            let column = Decimal128Array::from(totals).with_precision_and_scale(38, 0)?;
            Ok(Arc::new(column) as _)
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
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
