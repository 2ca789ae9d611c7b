"""People of a rich set: the plain ones with more of everything that real videos have."""

from data.sample_faces.rich.performance import RichPerformance, RichState, perform_rich
from data.sample_faces.rich.person import RichPerson, rich_person

__all__ = ["RichPerformance", "RichPerson", "RichState", "perform_rich", "rich_person"]
