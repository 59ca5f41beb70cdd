/* Every way to spoil a descriptor is noticed when it is opened. */
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"

/* Spoil one thing in a fresh copy, and see the status and the message. */
#define CHECK_SPOILED(expected, part, statement)                          \
  do {                                                                    \
    demo_copy copy;                                                       \
    demo_copy_make(&copy);                                                \
    statement;                                                            \
    uint64_t bytes = 0;                                                   \
    ec_session *session = NULL;                                           \
    CHECK_STATUS(expected, ec_session_memory(&copy.model, NULL, &bytes)); \
    CHECK_MESSAGE(part);                                                  \
    CHECK_STATUS(expected, ec_session_open(&copy.model, NULL, &session)); \
    CHECK_EQUAL(0, bytes);                                                \
    CHECK(session == NULL);                                               \
  } while (0)

#define CHECK_BAD(part, statement) CHECK_SPOILED(EC_ERROR_DESCRIPTOR, part, statement)

static void test_versions(void) {
  CHECK_BAD("0x464c457f", copy.model.magic = 0x464c457f);
  CHECK_SPOILED(EC_ERROR_VERSION, "version 99", copy.model.abi_version = 99);
  CHECK_SPOILED(EC_ERROR_VERSION, "version 0", copy.model.abi_version = 0);
  CHECK_SPOILED(EC_ERROR_VERSION, "bytes", copy.model.struct_bytes += 8);
  CHECK_SPOILED(EC_ERROR_VERSION, "bytes", copy.model.struct_bytes -= 8);
}

static void test_head(void) {
  CHECK_BAD("name", copy.model.name = NULL);
  CHECK_BAD("target", copy.model.target = NULL);
  CHECK_BAD("features", copy.model.required_features = NULL);
  CHECK_BAD("tables", copy.model.tensors = NULL);
  CHECK_BAD("tables", copy.model.calls = NULL);
  CHECK_BAD("tables", copy.model.inputs = NULL);
  CHECK_BAD("tables", copy.model.outputs = NULL);
  CHECK_BAD("no output", copy.model.output_count = 0);
  CHECK_BAD("reserved", copy.model.reserved[0] = 1);
  CHECK_BAD("reserved", copy.model.reserved[1] = 1);
  CHECK_BAD("aligned", copy.model.embedded_weights = (const char *)demo_weights() + 4);
}

static void test_tensors(void) {
  CHECK_BAD("tensor 4 has no name", copy.tensors[4].name = NULL);
  CHECK_BAD("element type 8", copy.tensors[DEMO_AFFINE].dtype = 8);
  CHECK_BAD("element type 0", copy.tensors[DEMO_AFFINE].dtype = 0);
  CHECK_BAD("storage 2", copy.tensors[DEMO_AFFINE].storage = 2);
  CHECK_BAD("multiple of 64", copy.tensors[DEMO_AFFINE].offset_bytes += 32);
  /* affine is the last: 2560 + 2368 + 64 = 4992. */
  CHECK_BAD("ends outside", copy.tensors[DEMO_AFFINE].bytes += 1);
  CHECK_BAD("ends outside", copy.tensors[DEMO_AFFINE].offset_bytes += 64);
  CHECK_BAD("ends outside", copy.model.arena_bytes -= 1);
  CHECK_BAD("ends outside", copy.model.weights_bytes -= 1);
  CHECK_BAD("ends outside", copy.tensors[DEMO_AFFINE].bytes = UINT64_MAX);
  CHECK_BAD("ends outside", copy.tensors[DEMO_AFFINE].bytes = UINT64_MAX - 2560);
  CHECK_BAD("ends outside", copy.tensors[DEMO_AFFINE].offset_bytes = UINT64_MAX - 63);
}

static void test_calls(void) {
  CHECK_BAD("lacks a text", copy.calls[1].operator_name = NULL);
  CHECK_BAD("lacks a text", copy.calls[1].schedule = NULL);
  CHECK_BAD("lacks a text", copy.calls[1].nodes = NULL);
  CHECK_BAD("lacks a text", copy.calls[1].source = NULL);
  CHECK_BAD("unknown device 3", copy.calls[1].device = EC_DEVICE_COUNT);
  CHECK_BAD("no kernel", copy.calls[1].kernel = NULL);
  CHECK_BAD("0 work items", copy.calls[1].work_items = 0);
  CHECK_BAD("2147483648 work items", copy.calls[1].work_items = 1u << 31);
  CHECK_BAD("begins at work item 2147483647", copy.calls[1].first_item = INT32_MAX);
  CHECK_BAD("in strip 7 with flags 0", copy.calls[1].strip = 7);
  CHECK_BAD("65 bytes of workspace", copy.calls[1].workspace_bytes = 65);
  CHECK_BAD("0 pointers", copy.calls[1].pointer_count = 0);
  CHECK_BAD("13 pointers", copy.calls[1].pointer_count = EC_MAX_KERNEL_POINTERS + 1);
  CHECK_BAD("lacks its tensors", copy.calls[1].tensors = NULL);
  CHECK_BAD("tensor 8 of 8", copy.call_tensors[1][1] = DEMO_TENSORS);
}

static void test_ports(void) {
  CHECK_BAD("no name", copy.inputs[1].name = NULL);
  CHECK_BAD("no name", copy.outputs[2].name = NULL);
  CHECK_BAD("tensor 8 of 8", copy.inputs[1].tensor = DEMO_TENSORS);
  CHECK_BAD("rank 9", copy.inputs[0].rank = EC_MAX_RANK + 1);
  CHECK_BAD("port 'x'", copy.inputs[0].reserved = 1);
  CHECK_BAD("element type 6, its tensor 1", copy.inputs[0].dtype = EC_DTYPE_INT32);
  CHECK_BAD("shape of port 'x'", copy.inputs[0].shape[1] = 15);
  CHECK_BAD("shape of port 'x'", copy.inputs[0].rank = 1);
  CHECK_BAD("shape of port 'x'", copy.inputs[0].shape[0] = -37);
  CHECK_BAD("shape of port 'y'", copy.outputs[0].shape[0] = INT64_MAX);
  CHECK_BAD("two ports are named 'y'", copy.outputs[2].name = "y");
  CHECK_BAD("two ports are named 'x'", copy.inputs[1].name = "x");
  CHECK_BAD("share memory", copy.tensors[DEMO_GAIN].offset_bytes = 0);
  CHECK_BAD("not in the arena", copy.tensors[DEMO_GAIN].storage = EC_STORAGE_WEIGHTS;
            copy.tensors[DEMO_GAIN].offset_bytes = 0);
}

static void test_too_large(void) {
  CHECK_SPOILED(EC_ERROR_OUT_OF_MEMORY, "address space",
                copy.model.arena_bytes = UINT64_MAX - 100);
  CHECK_SPOILED(EC_ERROR_OUT_OF_MEMORY, "address space",
                copy.model.workspace_bytes = UINT64_MAX - 10);
  demo_copy copy;
  demo_copy_make(&copy);
  copy.model.arena_bytes = (uint64_t)SIZE_MAX / 4 * 3; /* would fit, but is not there */
  ec_session *session = NULL;
  CHECK_STATUS(EC_ERROR_OUT_OF_MEMORY, ec_session_open(&copy.model, NULL, &session));
}

static void test_accepted(void) {
  ec_session *session = NULL;
  demo_copy copy;
  demo_copy_make(&copy);
  copy.model.call_count = 0; /* a model may compute nothing */
  copy.model.calls = NULL;
  copy.model.input_count = 0;
  copy.model.inputs = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&copy.model, NULL, &session));
  CHECK_STATUS(EC_OK, ec_session_run(session));
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, NULL, 0));
  ec_session_close(session);
}

int main(void) {
  test_versions();
  test_head();
  test_tensors();
  test_calls();
  test_ports();
  test_too_large();
  test_accepted();
  return 0;
}
