"""Prints the runs that TensorBoard finds in a folder as JSON: {run: {tag: [[step, wall time, value], …]}}."""

import json
import sys

from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

multiplexer = EventMultiplexer(size_guidance={"scalars": 0}).AddRunsFromDirectory(sys.argv[1]).Reload()
print(
    json.dumps(
        {
            run: {
                tag: [[e.step, e.wall_time, e.value] for e in multiplexer.Scalars(run, tag)]
                for tag in tags["scalars"]
            }
            for run, tags in multiplexer.Runs().items()
        }
    )
)
