"""What ``__init__.py`` fetches late, said at once: for type checkers and editors."""

from django_cluster.client.batch import batch as batch
from django_cluster.cluster.supervisor.embedded_cluster import Cluster as Cluster
from django_cluster.composition import AsyncTask as AsyncTask
from django_cluster.composition import Chain as Chain
from django_cluster.composition import Group as Group
from django_cluster.composition import Iter as Iter
from django_cluster.composition import async_chain as async_chain
from django_cluster.composition import async_iter as async_iter
from django_cluster.composition import call as call
from django_cluster.core.current_task import CurrentTask as CurrentTask
from django_cluster.core.current_task import current_task as current_task
from django_cluster.core.task_middleware import TaskMiddleware as TaskMiddleware
from django_cluster.core.task_progress import TaskProgress as TaskProgress
from django_cluster.core.task_progress import progress as progress
from django_cluster.decorators import cron_task as cron_task
from django_cluster.errors import Discard as Discard
from django_cluster.errors import Retry as Retry
from django_cluster.errors import Snooze as Snooze
from django_cluster.errors import TaskCancelled as TaskCancelled
from django_cluster.service import TaskService as TaskService
from django_cluster.service import get_task_service as get_task_service
from django_cluster.task_objects import TaskContext as TaskContext
from django_cluster.task_objects import TaskFunction as TaskFunction
from django_cluster.task_objects import TaskHandle as TaskHandle
from django_cluster.task_objects import TaskStatus as TaskStatus
from django_cluster.task_objects import task as task
from django_cluster.tasks import aasync_bulk as aasync_bulk
from django_cluster.tasks import aasync_task as aasync_task
from django_cluster.tasks import afetch as afetch
from django_cluster.tasks import afetch_group as afetch_group
from django_cluster.tasks import aresult as aresult
from django_cluster.tasks import aresult_group as aresult_group
from django_cluster.tasks import async_bulk as async_bulk
from django_cluster.tasks import async_task as async_task
from django_cluster.tasks import count_group as count_group
from django_cluster.tasks import delete_cached as delete_cached
from django_cluster.tasks import delete_group as delete_group
from django_cluster.tasks import fetch as fetch
from django_cluster.tasks import fetch_group as fetch_group
from django_cluster.tasks import queue_size as queue_size
from django_cluster.tasks import result as result
from django_cluster.tasks import result_group as result_group
from django_cluster.tasks import schedule as schedule

__all__: list[str]
__version__: str
