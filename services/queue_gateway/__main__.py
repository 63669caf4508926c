"""`python -m queue_gateway`: serve until a signal comes."""

from queue_gateway.config import GatewaySettings
from queue_gateway.service import Gateway
from reveille.lifecycle import main

if __name__ == "__main__":
    main("queue-gateway", GatewaySettings, Gateway)
