"""The site, built once for all workers."""

import pytest
from filelock import FileLock

from tools.site import Build, build_site
from tools.twins import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Build:
    """Build the site once, whichever worker comes first."""
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    with FileLock(shared / "site.lock"):
        target, record = shared / "site", shared / "site.log"
        if not record.exists():
            build = build_site(ROOT, target)
            record.write_text(f"{build.status}\n{build.log}", encoding="utf-8")
            return build
    status, _, log = record.read_text(encoding="utf-8").partition("\n")
    return Build(target / "_build" / "html", log, int(status))
