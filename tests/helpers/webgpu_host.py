"""A small host for launch tables: what an app does with a bundle's WGSL, and nothing else.

It knows the bundle's folder and the launch table; the table is complete if this is right.
"""

import json

import numpy as np
import wgpu

_USAGE = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST


class WebGpuModel:
    """A bundle's kernels on a device.

    Args:
        folder: the bundle.
        device: with the features and limits that the table asks for.
    """

    def __init__(self, folder, device):
        (path,) = (folder / "shaders").glob("*.json")
        self.table = json.loads(path.read_text())
        self._device = device
        weights = self.table["weights"]
        self._buffers = {
            "arena": self._buffer(self.table["arena"]["bytes"]),
            "weights": self._buffer(weights["bytes"]),
        }
        content = (path.parent / weights["file"]).read_bytes()
        for part in weights["parts"]:
            piece = content[part["file_offset"] :][: part["bytes"]]
            self._write("weights", part["offset"], piece)
        text = (path.parent / self.table["source"]).read_text()
        self._module = device.create_shader_module(code=text)
        self._pipelines = {}
        self._calls = [self._prepared(call) for call in self.table["calls"]]

    def _buffer(self, size):
        return self._device.create_buffer(size=max(16, size), usage=_USAGE)

    def _write(self, buffer, offset, content):
        padded = bytes(content) + bytes(-len(content) % 4)
        self._device.queue.write_buffer(self._buffers[buffer], offset, padded)

    def _pipeline(self, kernel):
        if kernel not in self._pipelines:
            compute = {"module": self._module, "entry_point": kernel}
            self._pipelines[kernel] = self._device.create_compute_pipeline(
                layout="auto", compute=compute
            )
        return self._pipelines[kernel]

    def _prepared(self, call):
        pipeline = self._pipeline(call["kernel"])
        entries = [
            {
                "binding": number,
                "resource": {
                    "buffer": self._buffers[binding["buffer"]],
                    "offset": binding["offset"],
                    "size": binding["bytes"],
                },
            }
            for number, binding in enumerate(call["bindings"])
        ]
        group = self._device.create_bind_group(
            layout=pipeline.get_bind_group_layout(0), entries=entries
        )
        return pipeline, group, call["groups"]

    def run(self, feeds):
        """Outputs by name."""
        for port in self.table["inputs"]:
            array = np.ascontiguousarray(feeds[port["name"]], port["dtype"])
            self._write(port["buffer"], port["offset"], array.tobytes())
        encoder = self._device.create_command_encoder()
        run = encoder.begin_compute_pass()
        for pipeline, group, groups in self._calls:
            run.set_pipeline(pipeline)
            run.set_bind_group(0, group)
            run.dispatch_workgroups(*groups)
        run.end()
        self._device.queue.submit([encoder.finish()])
        return {port["name"]: self._read(port) for port in self.table["outputs"]}

    def _read(self, port):
        size = -(-port["bytes"] // 4) * 4
        buffer = self._buffers[port["buffer"]]
        content = self._device.queue.read_buffer(buffer, port["offset"], size)
        flat = np.frombuffer(content, np.uint8)[: port["bytes"]].view(port["dtype"])
        return flat.reshape(port["shape"]).copy()
