#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "edgecomp/model.h"
#include "json.h"
#include "report.h"

/* numpy's name of an element type. */
static const char *dtype_name(uint32_t dtype) {
  switch ((ec_dtype)dtype) {
    case EC_DTYPE_FLOAT32:
      return "float32";
    case EC_DTYPE_UINT8:
      return "uint8";
    case EC_DTYPE_INT8:
      return "int8";
    case EC_DTYPE_UINT16:
      return "uint16";
    case EC_DTYPE_INT16:
      return "int16";
    case EC_DTYPE_INT32:
      return "int32";
    case EC_DTYPE_INT64:
      return "int64";
    case EC_DTYPE_BOOL:
      return "bool";
    case EC_DTYPE_FLOAT16:
      return "float16";
    case EC_DTYPE_FLOAT64:
      return "float64";
    case EC_DTYPE_UINT32:
      return "uint32";
    case EC_DTYPE_UINT64:
      return "uint64";
    case EC_DTYPE_BFLOAT16:
      return "bfloat16";
    case EC_DTYPE_FLOAT8_E4M3FN:
      return "float8_e4m3fn";
    case EC_DTYPE_FLOAT8_E4M3FNUZ:
      return "float8_e4m3fnuz";
    case EC_DTYPE_FLOAT8_E5M2:
      return "float8_e5m2";
    case EC_DTYPE_FLOAT8_E5M2FNUZ:
      return "float8_e5m2fnuz";
    case EC_DTYPE_UINT4:
      return "uint4";
    case EC_DTYPE_INT4:
      return "int4";
    case EC_DTYPE_FLOAT4_E2M1FN:
      return "float4_e2m1fn";
    case EC_DTYPE_FLOAT8_E8M0FNU:
      return "float8_e8m0fnu";
    case EC_DTYPE_UINT2:
      return "uint2";
    case EC_DTYPE_INT2:
      return "int2";
  }
  return "unknown";
}

static uint64_t multiply_adds(const ec_model *model) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    sum += model->calls[i].multiply_adds;
  }
  return sum;
}

static void ports_json(const char *key, const ec_model *model, const ec_port *ports,
                       uint32_t count) {
  json_open(key, '[');
  for (uint32_t i = 0; i < count; ++i) {
    json_open(NULL, '{');
    json_text("name", ports[i].name);
    json_text("dtype", dtype_name(ports[i].dtype));
    json_open("shape", '[');
    for (uint32_t d = 0; d < ports[i].rank; ++d) {
      json_signed(NULL, ports[i].shape[d]);
    }
    json_close(']');
    json_unsigned("bytes", model->tensors[ports[i].tensor].bytes);
    json_close('}');
  }
  json_close(']');
}

/* Bounds of the dimensions that differ from run to run; nothing for a static model. */
static void dynamic_json(const ec_model *model) {
  if (model->dynamic == NULL) {
    return;
  }
  json_open("dynamic", '{');
  for (uint32_t i = 0; i < model->dynamic->symbol_count; ++i) {
    const ec_symbol *symbol = &model->dynamic->symbols[i];
    if (symbol->derived == NULL) {
      json_open(symbol->name, '[');
      json_signed(NULL, symbol->minimum);
      json_signed(NULL, symbol->maximum);
      json_close(']');
    }
  }
  json_close('}');
}

void info_json(const ec_model *model, uint64_t session_bytes) {
  json_open(NULL, '{');
  json_text("model", model->name);
  json_text("target", model->target);
  json_text("required_features", model->required_features);
  json_unsigned("abi_version", model->abi_version);
  ports_json("inputs", model, model->inputs, model->input_count);
  ports_json("outputs", model, model->outputs, model->output_count);
  dynamic_json(model);
  json_unsigned("calls", model->call_count);
  json_unsigned("cpu_plan_calls", model->cpu_plan != NULL ? model->cpu_plan->call_count : 0);
  json_unsigned("multiply_adds", multiply_adds(model));
  json_unsigned("arena_bytes", model->arena_bytes);
  json_unsigned("workspace_bytes", model->workspace_bytes);
  json_unsigned("weights_bytes", model->weights_bytes);
  json_text("weights_file", model->weights_file != NULL ? model->weights_file : "");
  json_unsigned("session_bytes", session_bytes);
  json_close('}');
  json_end();
}

static void ports_text(const char *label, const ec_port *ports, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    (void)printf("%-8s%s: %s [", label, ports[i].name, dtype_name(ports[i].dtype));
    for (uint32_t d = 0; d < ports[i].rank; ++d) {
      (void)printf("%s%" PRId64, d == 0 ? "" : ", ", ports[i].shape[d]);
    }
    (void)printf("]\n");
  }
}

void info_text(const ec_model *model, uint64_t session_bytes) {
  (void)printf("%s for %s (%s)\n", model->name, model->target, model->required_features);
  ports_text("input", model->inputs, model->input_count);
  ports_text("output", model->outputs, model->output_count);
  for (uint32_t i = 0; model->dynamic != NULL && i < model->dynamic->symbol_count; ++i) {
    const ec_symbol *symbol = &model->dynamic->symbols[i];
    if (symbol->derived == NULL) {
      (void)printf("%s %s: %" PRId64 " to %" PRId64 "; shapes above are the largest\n",
                   symbol->is_counted != 0 ? "counted" : "dynamic", symbol->name,
                   symbol->minimum, symbol->maximum);
    }
  }
  (void)printf("%" PRIu32 " calls, %" PRIu64 " multiply-adds\n", model->call_count,
               multiply_adds(model));
  if (model->cpu_plan != NULL) {
    (void)printf("CPU plan: %" PRIu32 " calls, arena %" PRIu64 " bytes\n",
                 model->cpu_plan->call_count, model->cpu_plan->arena_bytes);
  }
  (void)printf("memory: arena %" PRIu64 ", session %" PRIu64 ", weights %" PRIu64 " bytes\n",
               model->arena_bytes, session_bytes, model->weights_bytes);
}
