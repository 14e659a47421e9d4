"""Words for abstracts and their titles (LaMP-5): a named system, its method and its problem."""

from __future__ import annotations

from bench.data.sample_words import phrases

METHODS = phrases(
    "graph pruning|contrastive learning|active sampling|spectral clustering|curriculum training|knowledge distillation|"
    "adaptive smoothing|causal modelling|federated averaging|random search|symbolic regression|tensor factorization|"
    "evolutionary search|transfer learning|sparse coding|variational inference|interval analysis|self-training|"
    "residual correction|prototype matching|multi-task learning|weighted voting|online calibration|hierarchical "
    "planning|simulated annealing|error-driven learning|interactive labelling|stochastic routing|rule induction|"
    "attention masking"
)
PROBLEMS = phrases(
    "traffic forecasting|protein folding|crop monitoring|speech recognition|fraud detection|flood prediction|warehouse "
    "scheduling|code completion|drug screening|energy pricing|wildlife counting|air quality mapping|satellite tracking|"
    "exam grading|music tagging|patient triage|bridge inspection|weather nowcasting|battery diagnosis|plagiarism "
    "detection|menu translation|stock planning|earthquake warning|map matching|ship routing|sleep staging|plant "
    "breeding|document sorting|lecture indexing|water metering"
)
NAME_STARTS = phrases("Cor|Tal|Ven|Lu|Mir|Ar|Zeph|Ner|Quil|Bran|Sol|Kes|Or|Fen|Hal|Ty|Ra|Ely|Dor|Pax")
NAME_ENDS = phrases("vid|ora|ix|men|tis|una|dex|lan|phi|rix|mos|el|ano|gus|wen|tor|ica|yx|ell|va")
MOTIVES = phrases(
    "Progress in {problem} has slowed in recent years.|Good solutions to {problem} remain expensive.|Many teams depend "
    "on {problem} every day.|Existing tools for {problem} are hard to maintain.|The demand for {problem} keeps "
    "growing.|Errors in {problem} can be costly.|Public data for {problem} are scarce.|Interest in {problem} is "
    "growing quickly."
)
CORES = phrases(
    "We apply {method} to {problem} and describe our system, {name}.|We present {name}, a system that uses {method} "
    "for {problem}.|This paper describes {name}, which brings {method} to {problem}.|Our system, {name}, relies on "
    "{method} for {problem}.|We propose {name}, which tackles {problem} by means of {method}."
)
RESULTS = phrases(
    "On {n} public data sets it reduces the error by {percent} percent.|It runs on a laptop and needs only {n} "
    "labelled examples per class.|A study with {n} experts shows gains of {percent} percent.|Compared with {n} strong "
    "baselines, it saves {percent} percent of the cost.|Tests over {n} months show stable results at low cost.|The "
    "gains of {percent} percent hold in {n} of our settings."
)
CLOSINGS = phrases(
    "Code is available.|We discuss limits and next steps.|An ablation explains why.|We release all logs.|The approach "
    "is easy to adopt.|We also list open questions."
)
# {method} {problem} {name}: words of the paper
FORMS: dict[str, str] = {
    "plain": "{method} for {problem}",
    "named": "{name}: {method} for {problem}",
    "on": "on the role of {method} in {problem}",
    "towards": "towards better {problem} with {method}",
    "rethinking": "rethinking {problem}: a case for {method}",
    "case study": "{problem} by {method}: a case study",
    "question": "does {method} really help {problem}?",
    "introducing": "introducing {name}: {problem} via {method}",
}
