"""sources.yaml: read with positions, checked as a whole, watched for changes."""

from cxloop_ingest.configuration.nodes import SourceProblem
from cxloop_ingest.configuration.sources import LoadedSources, load_sources
from cxloop_ingest.configuration.watch import SourceRegistry

__all__ = ["LoadedSources", "SourceProblem", "SourceRegistry", "load_sources"]
