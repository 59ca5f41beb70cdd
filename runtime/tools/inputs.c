#include "inputs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "failure.h"
#include "files.h"

/* A small generator (xorshift64*): the same inputs on every machine. */
static uint64_t next_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545F4914F6CDD1Du;
}

/* [0, 1) with 24 bits. */
static float next_float(uint64_t *state) {
  return (float)(next_random(state) >> 40) / 16777216.0f;
}

/* Bits of the float16 k / 1024, k below 1024: exact, so that no rounding has to be written. */
static uint16_t next_float16(uint64_t *state) {
  uint32_t k = (uint32_t)(next_random(state) >> 54);
  if (k == 0) {
    return 0;
  }
  uint32_t exponent = 15;
  while (k < 1024) { /* k / 1024 is 1.m times 2^(exponent - 15) */
    k <<= 1;
    --exponent;
  }
  return (uint16_t)((exponent << 10) | (k & 1023));
}

/* The upper half of a float32. */
static uint16_t next_bfloat16(uint64_t *state) {
  float value = next_float(state);
  uint32_t bits = 0;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)(bits >> 16);
}

/* One random element; types that may be an index or a size stay 0. */
static void fill_element(uint32_t dtype, uint8_t *out, uint64_t *state) {
  float single = 0;
  double wide = 0;
  uint16_t half = 0;
  if (dtype == EC_DTYPE_FLOAT32) {
    single = next_float(state);
    memcpy(out, &single, sizeof single);
  } else if (dtype == EC_DTYPE_FLOAT64) {
    wide = (double)next_float(state);
    memcpy(out, &wide, sizeof wide);
  } else if (dtype == EC_DTYPE_FLOAT16 || dtype == EC_DTYPE_BFLOAT16) {
    half = dtype == EC_DTYPE_FLOAT16 ? next_float16(state) : next_bfloat16(state);
    memcpy(out, &half, sizeof half);
  } else if (dtype == EC_DTYPE_UINT8 || dtype == EC_DTYPE_INT8) {
    *out = (uint8_t)(next_random(state) >> 56);
  }
}

static void fill_elements(uint32_t dtype, uint8_t *data, uint64_t bytes, uint64_t elements,
                          uint64_t *state) {
  for (uint64_t i = 0; i < elements; ++i) {
    fill_element(dtype, data + i * (bytes / elements), state);
  }
}

static bool is_text(const char *text, size_t bytes, const char *name) {
  return strlen(name) == bytes && memcmp(name, text, bytes) == 0;
}

static bool is_named(const input_argument *input, const char *name) {
  return is_text(input->name, input->name_bytes, name);
}

static const input_argument *find_argument(const arguments *from, const char *name) {
  for (uint32_t i = 0; i < from->input_count; ++i) {
    const input_argument *input = &from->inputs[i];
    if (is_named(input, name)) {
      return input;
    }
  }
  return NULL;
}

static bool is_input(const ec_model *model, const input_argument *wanted) {
  for (uint32_t i = 0; i < model->input_count; ++i) {
    if (is_named(wanted, model->inputs[i].name)) {
      return true;
    }
  }
  return false;
}

static void check_names(const ec_model *model, const arguments *from) {
  for (uint32_t i = 0; i < from->input_count; ++i) {
    const input_argument *input = &from->inputs[i];
    if (!is_input(model, input)) {
      fail(EXIT_CODE_USAGE, "the model has no input named '%.*s'; see --info",
           (int)input->name_bytes, input->name);
    }
  }
}

/* Give the session the shapes of the command line. */
static void set_shapes(ec_session *session, const arguments *from) {
  const ec_model *model = ec_session_model(session);
  for (uint32_t k = 0; k < from->shape_count; ++k) {
    const shape_argument *shape = &from->shapes[k];
    uint32_t index = 0;
    while (index < model->input_count &&
           !is_text(shape->name, shape->name_bytes, model->inputs[index].name)) {
      ++index;
    }
    if (index == model->input_count) {
      fail(EXIT_CODE_USAGE, "the model has no input named '%.*s'; see --info",
           (int)shape->name_bytes, shape->name);
    }
    require_ok(ec_session_set_input_shape(session, index, shape->shape, shape->rank));
  }
}

static uint64_t elements_of(const ec_session *session, uint32_t index) {
  int64_t shape[EC_MAX_RANK];
  uint32_t rank = 0;
  require_ok(ec_session_input_shape(session, index, shape, &rank));
  uint64_t elements = 1;
  for (uint32_t d = 0; d < rank; ++d) {
    elements *= (uint64_t)shape[d];
  }
  return elements;
}

static uint64_t bytes_of(ec_session *session, uint32_t index) {
  void *data = NULL;
  uint64_t bytes = 0;
  require_ok(ec_session_input_data(session, index, &data, &bytes));
  return bytes;
}

/* What a file would hold whose elements are random. */
static file_contents make_up(ec_session *session, uint32_t index, uint64_t *random_state) {
  uint64_t bytes = bytes_of(session, index);
  file_contents contents = {calloc(1, (size_t)bytes + 1), bytes, false};
  if (contents.data == NULL) {
    fail(EXIT_CODE_DEVICE, "out of memory");
  }
  fill_elements(ec_session_model(session)->inputs[index].dtype, contents.data, bytes,
                elements_of(session, index), random_state);
  return contents;
}

static file_contents load(ec_session *session, uint32_t index, const arguments *from,
                          uint64_t *random_state) {
  const char *name = ec_session_model(session)->inputs[index].name;
  const input_argument *given = find_argument(from, name);
  if (given != NULL) {
    return file_open(given->path, name, bytes_of(session, index));
  }
  if (!from->random_inputs) {
    fail(EXIT_CODE_USAGE, "input '%s' is not given: --input '%s=FILE' or --random-inputs",
         name, name);
  }
  return make_up(session, index, random_state);
}

input_set inputs_load(ec_session *session, const arguments *from) {
  const ec_model *model = ec_session_model(session);
  check_names(model, from);
  set_shapes(session, from);
  input_set inputs = {calloc((size_t)model->input_count + 1, sizeof(file_contents))};
  if (inputs.contents == NULL) {
    fail(EXIT_CODE_DEVICE, "out of memory");
  }
  uint64_t random_state = 0x9E3779B97F4A7C15u;
  for (uint32_t i = 0; i < model->input_count; ++i) {
    inputs.contents[i] = load(session, i, from, &random_state);
  }
  return inputs;
}

void inputs_set(const input_set *inputs, ec_session *session) {
  const ec_model *model = ec_session_model(session);
  for (uint32_t i = 0; i < model->input_count; ++i) {
    require_ok(
        ec_session_set_input(session, i, inputs->contents[i].data, inputs->contents[i].bytes));
  }
}

void inputs_free(input_set *inputs, const ec_model *model) {
  for (uint32_t i = 0; i < model->input_count; ++i) {
    file_close(&inputs->contents[i]);
  }
  free(inputs->contents);
  inputs->contents = NULL;
}
