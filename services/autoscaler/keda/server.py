"""The gRPC server that KEDA asks: four calls, of which one is a stream that says at once when the
first task of a pool wants a worker.

Which pool a ScaledObject is for stands in its trigger's metadata (`pool: text`).
"""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog

from autoscaler.keda import messages
from autoscaler.keda.published import Published
from autoscaler.keda_settings import KedaSettings
from reveille.database import DATABASE_ERRORS
from reveille.errors import ConfigurationError

log = structlog.get_logger(__name__)

METRIC = "reveille"
STOP_SECONDS = 1.0


class KedaServer:
    """Serves at `settings.keda_listen` until it is closed. Raises ConfigurationError."""

    def __init__(self, settings: KedaSettings, published: Published) -> None:
        self._settings = settings
        self.published = published
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.port = 0

    async def open(self) -> None:
        """Begin to listen; `port` says where."""
        address = self._settings.keda_listen
        credentials = _credentials(self._settings)
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise ConfigurationError(f"REVEILLE_KEDA_LISTEN={address}: {error}") from None
        await self._server.start()
        log.info("keda_listens", address=address, port=self.port, tls=credentials is not None)

    async def close(self) -> None:
        """End the calls; KEDA tries again elsewhere."""
        await self._server.stop(STOP_SECONDS)

    def _handlers(self) -> Any:
        answers = {
            "IsActive": (self._is_active, messages.ScaledObjectRef),
            "GetMetricSpec": (self._metric_spec, messages.ScaledObjectRef),
            "GetMetrics": (self._metrics, messages.GetMetricsRequest),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=request.FromString,
                response_serializer=_bytes_of,
            )
            for name, (answer, request) in answers.items()
        }
        handlers["StreamIsActive"] = grpc.unary_stream_rpc_method_handler(
            self._stream_is_active,
            request_deserializer=messages.ScaledObjectRef.FromString,
            response_serializer=_bytes_of,
        )
        return grpc.method_handlers_generic_handler(messages.SERVICE, handlers)

    # The calls

    async def _is_active(self, ref: Any, context: Any) -> Any:
        _, replicas = await self._replicas(ref, context)
        return messages.IsActiveResponse(result=replicas > 0)

    async def _stream_is_active(self, ref: Any, context: Any) -> AsyncIterator[Any]:
        """Each change of the number: KEDA looks at the metric when it hears of one."""
        pool, _ = await self._replicas(ref, context)
        async for replicas in self.published.follow(pool):
            yield messages.IsActiveResponse(result=replicas > 0)

    async def _metric_spec(self, ref: Any, context: Any) -> Any:
        """One replica for each that is wanted: the number itself is what the HPA brings about."""
        pool, _ = await self._replicas(ref, context)
        spec = messages.MetricSpec(metricName=f"{METRIC}-{pool}", targetSize=1, targetSizeFloat=1)
        return messages.GetMetricSpecResponse(metricSpecs=[spec])

    async def _metrics(self, request: Any, context: Any) -> Any:
        _, replicas = await self._replicas(request.scaledObjectRef, context)
        value = messages.MetricValue(
            metricName=request.metricName, metricValue=replicas, metricValueFloat=replicas
        )
        return messages.GetMetricsResponse(metricValues=[value])

    async def _replicas(self, ref: Any, context: Any) -> tuple[str, int]:
        """The pool and its number. Without a database there is no answer: then KEDA holds."""
        pool = ref.scalerMetadata.get("pool", "")
        try:
            known = await self.published.read()
        except DATABASE_ERRORS as error:
            words = f"the database does not answer: {error or type(error).__name__}"
            await context.abort(grpc.StatusCode.UNAVAILABLE, words)
            raise AssertionError("abort raises") from None
        if pool not in known:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"the trigger's metadata says pool {pool!r}; there are {', '.join(sorted(known))}",
            )
        return pool, known[pool]


def _bytes_of(message: Any) -> bytes:
    told: bytes = message.SerializeToString()
    return told


def _credentials(settings: KedaSettings) -> Any:
    """For TLS, and of the client too if its authority is given; None: in clear text."""
    if settings.keda_tls_cert is None or settings.keda_tls_key is None:
        return None
    try:
        pair = settings.keda_tls_key.read_bytes(), settings.keda_tls_cert.read_bytes()
        client = settings.keda_tls_client_ca
        roots = client.read_bytes() if client is not None else None
    except OSError as error:
        raise ConfigurationError(f"REVEILLE_KEDA_TLS_…: {error}") from None
    return grpc.ssl_server_credentials(
        [pair], root_certificates=roots, require_client_auth=roots is not None
    )
