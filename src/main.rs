use {moka as _, tonic as _, sqlx as _};
fn main(){}
