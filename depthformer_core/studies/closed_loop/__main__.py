"""Does a robot stop? `python -m depthformer_core.studies.closed_loop`."""

import tyro

from depthformer_core.errors import exit_on_error
from depthformer_core.files import replacing, write_texts
from depthformer_core.studies.closed_loop.conditions import Views
from depthformer_core.studies.closed_loop.report import format_tables, plot_results
from depthformer_core.studies.closed_loop.run import ClosedLoopOptions, load, run
from depthformer_core.studies.closed_loop.scenario import BLOCKED, KINDS, draw_scenario


@exit_on_error("closed_loop")
def main() -> None:
    """Drive, print tables, and write them and a picture."""
    options = tyro.cli(ClosedLoopOptions)
    results = run(options)
    tables = format_tables(results, checkpoint=options.checkpoint)
    print(tables)
    predictor = load(options)
    drives = {kind: Views(draw_scenario(0, KINDS.index(kind)), predictor, {}) for kind in BLOCKED}
    picture = plot_results(results, checkpoint=options.checkpoint, drives=drives)
    write_texts(options.output, {"closed_loop.md": tables + "\n"})
    with replacing(options.output / "closed_loop.png") as temporary:
        temporary.write_bytes(picture)


if __name__ == "__main__":
    main()
