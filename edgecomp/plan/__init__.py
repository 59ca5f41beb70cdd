"""What a model is made of once it leaves ONNX: values, operations and the static plan.

Plain data without TVM: ``lower`` makes it, ``schedules`` read it, ``bundle`` writes it out.
"""
